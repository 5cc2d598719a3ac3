"""SynthEval: the window around the evaluation sections of ``synthct.scene``. It connects them and computes nothing."""

import sys
from pathlib import Path
from typing import Annotated, Union

# In a clone `synthct` lies beside this module's folder; installed, it lies beside this file.
if not (Path(__file__).resolve().parent / "synthct").is_dir():
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import qt
import slicer
import vtk
from slicer import (
    vtkMRMLLabelMapVolumeNode,
    vtkMRMLMarkupsLineNode,
    vtkMRMLPlotChartNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLTableNode,
    vtkMRMLTextNode,
)
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

from synthct.scene import selftest
from synthct.scene.evaluation import selftest as evaluation_selftest
from synthct.scene.evaluation.cohort_section import EvaluationCohortSection
from synthct.scene.evaluation.distribution_section import RESNETS, EvaluationDistributionSection
from synthct.scene.evaluation.dose_section import CRITERIA, EvaluationDoseSection
from synthct.scene.evaluation.pair_section import EvaluationPairSection
from synthct.scene.evaluation.statistics_section import EvaluationStatisticsSection
from synthct.scene.evaluation.views import CompareViews
from synthct.scene.parameter_widgets import connect_widgets
from synthct.scene.segmentation.experiment_section import ExperimentSection
from synthct.scene.segmentation.overlap_section import OverlapSection
from synthct.scene.session import Session
from synthct.scene.turing.section import TuringSection


class SynthEval(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Synthetic CT evaluation")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Radiotherapy")]
        self.parent.dependencies = []
        self.parent.contributors = ["The SyntheticCT developers"]
        self.parent.helpText = _(
            "How far a synthetic CT is from the true one, and where; whether a difference is significant, whether sets "
            "of images match, whether an expert can tell, whether a segmentation network gets better with them, and "
            "what changes in the dose. Not a medical device."
        )
        self.parent.acknowledgementText = _("Every score is defined in its table.")


@parameterNodeWrapper
class SynthEvalParameterNode:
    """The user's choices and the results, saved with the scene."""

    pairReference: vtkMRMLScalarVolumeNode
    pairSynthetic: vtkMRMLScalarVolumeNode
    pairBody: bool = True
    pairMask: Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007
    pairRegions: Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007
    pairLine: vtkMRMLMarkupsLineNode
    pairResample: bool = True
    pairLeaveOut: bool = False
    pairScores: vtkMRMLTableNode
    pairRegionScores: vtkMRMLTableNode
    pairSlices: vtkMRMLTableNode
    pairError: vtkMRMLScalarVolumeNode
    pairHistogram: vtkMRMLScalarVolumeNode
    pairSliceChart: vtkMRMLPlotChartNode
    pairBoneChart: vtkMRMLPlotChartNode
    pairLineChart: vtkMRMLPlotChartNode
    pairReport: vtkMRMLTextNode
    cohortList: str
    cohortReferences: str
    cohortSynthetics: str
    cohortOutput: str
    cohortResample: bool = True
    cohortLeaveOut: bool = False
    cohortScores: vtkMRMLTableNode
    caseReference: vtkMRMLScalarVolumeNode
    caseSynthetic: vtkMRMLScalarVolumeNode
    caseError: vtkMRMLScalarVolumeNode
    caseChart: vtkMRMLPlotChartNode
    statisticsScores: str
    statisticsGroup: str
    statisticsBaseline: str
    statisticsUnit: str
    statisticsWhere: str
    statisticsMargin: Annotated[float, WithinRange(0, 1e6)] = 0.0
    statisticsTests: vtkMRMLTableNode
    statisticsGroups: vtkMRMLTableNode
    distributionReal: str
    distributionSynthetic: str
    distributionBy: Annotated[str, Choice(["images", "masks", "pairs"])] = "images"
    distributionKind: str = "statistics"
    distributionModel: str
    distributionWeights: str
    distributionNetwork: Annotated[str, Choice(RESNETS)] = "resnet50"
    distributionOutput: str
    distributionScores: vtkMRMLTableNode
    distributionPoints: vtkMRMLTableNode
    distributionChart: vtkMRMLPlotChartNode
    distributionImage: vtkMRMLScalarVolumeNode
    turingTest: str
    turingReal: str
    turingGenerated: str
    turingResults: vtkMRMLTableNode
    overlapReferences: str
    overlapPredicted: str
    overlapTolerance: Annotated[float, WithinRange(0, 100)] = 1.0
    overlapScores: vtkMRMLTableNode
    overlapSummary: vtkMRMLTableNode
    overlapReference: vtkMRMLScalarVolumeNode
    overlapFound: vtkMRMLScalarVolumeNode
    overlapDifference: vtkMRMLScalarVolumeNode
    experimentRecipe: str
    experimentFile: str
    experimentReal: str
    experimentSynthetic: str
    experimentGan: str
    experimentKeys: str
    experimentRun: str
    experimentTable: vtkMRMLTableNode
    doseReference: vtkMRMLScalarVolumeNode
    doseReferenceFile: str
    doseEvaluated: vtkMRMLScalarVolumeNode
    doseEvaluatedFile: str
    doseUnit: Annotated[str, Choice(["Gy", "cGy"])] = "Gy"
    doseStructures: Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007
    doseStructuresFile: str
    doseThreshold: Annotated[float, WithinRange(1, 90)] = 10.0
    doseCriterion: Annotated[str, Choice(list(CRITERIA))] = "2 %/2 mm"
    doseLocal: bool = False
    doseGamma: vtkMRMLTableNode
    doseMetrics: vtkMRMLTableNode
    doseChart: vtkMRMLPlotChartNode
    doseDifference: vtkMRMLScalarVolumeNode
    doseGammaMap: vtkMRMLScalarVolumeNode


class SynthEvalWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTags = []
        self._wasShown = False
        VTKObservationMixin.__init__(self)
        ScriptedLoadableModuleWidget.__init__(self, parent)  # without a parent it calls setup() at once

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/SynthEval.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = SynthEvalLogic()
        session, views = self.logic.session, CompareViews()
        self.pair = EvaluationPairSection(self.ui.pairButton, session, views, self.parameters)
        self.cohort = EvaluationCohortSection(self.ui.cohortButton, session, views, self.parameters)
        self.statistics = EvaluationStatisticsSection(self.ui.statisticsButton, session, self.parameters)
        self.distribution = EvaluationDistributionSection(self.ui.distributionButton, session, views, self.parameters)
        self.turing = TuringSection(self.ui.turingButton, session, views, self.parameters)
        self.overlap = OverlapSection(self.ui.overlapButton, session, views, self.parameters)
        self.experiment = ExperimentSection(self.ui.experimentButton, session, self.parameters)
        self.dose = EvaluationDoseSection(self.ui.doseButton, session, self.parameters)
        self.sections = [
            self.pair,
            self.cohort,
            self.statistics,
            self.distribution,
            self.turing,
            self.overlap,
            self.experiment,
            self.dose,
        ]  # each has ui, job, update(), scene_closing() and close()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartImportEvent, self.onSceneStartImport)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        self.initializeParameterNode()

    def parameters(self):
        return self._parameterNode

    def cleanup(self):
        for section in self.sections:
            section.close()
        self.setParameterNode(None)
        self.logic.session.close()
        self.removeObservers()

    def enter(self):
        self.initializeParameterNode()

    def exit(self):
        if not any(section.job for section in self.sections):  # else what a job finds would be lost
            self.setParameterNode(None)

    def onSceneStartClose(self, caller=None, event=None):
        for section in self.sections:
            section.scene_closing()
        self._wasShown = self._parameterNode is not None
        self.setParameterNode(None)

    def onSceneEndClose(self, caller=None, event=None):
        if self._wasShown:
            self.initializeParameterNode()

    def onSceneStartImport(self, caller=None, event=None):
        """Leave the choices alone while a scene is loaded: its volumes come one by one, and selectors would choose."""
        self._wasShown = self._parameterNode is not None
        self.setParameterNode(None)

    def onSceneEndImport(self, caller=None, event=None):
        if self._wasShown:
            qt.QTimer.singleShot(0, self.initializeParameterNode)  # once the selectors list what was loaded

    def initializeParameterNode(self):
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameterNode):
        if self._parameterNode:
            for tag in self._parameterNodeGuiTags:
                self._parameterNode.disconnectGui(tag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParameterNodeModified)
        self._parameterNode = None
        if parameterNode:
            self._parameterNodeGuiTags = [connect_widgets(parameterNode, section.ui) for section in self.sections]
            self._parameterNode = parameterNode
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParameterNodeModified)
            self.onParameterNodeModified()

    def onParameterNodeModified(self, caller=None, event=None):
        """Show what no widget is connected to by itself."""
        for section in self.sections:
            section.update()


class SynthEvalLogic(ScriptedLoadableModuleLogic):
    """What a script needs: the parameter node, and the session that jobs run in."""

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        self.session = Session()

    def getParameterNode(self):
        return SynthEvalParameterNode(super().getParameterNode())


class SynthEvalTest(ScriptedLoadableModuleTest):
    """Runs in Slicer (Reload & Test, CTest) and in the embedded host."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.delayDisplay("A volume keeps its place on the way to an image and back")
        selftest.check_geometry()
        self.setUp()
        self.delayDisplay("A pair is judged: scores, error map and regions")
        evaluation_selftest.check_pair(slicer.util.getModuleWidget("SynthEval"))
        self.setUp()
        self.delayDisplay("A blinded test is rated, every answer is on the disk at once")
        evaluation_selftest.check_turing_test(slicer.util.getModuleWidget("SynthEval"))
        self.delayDisplay("Test passed")
