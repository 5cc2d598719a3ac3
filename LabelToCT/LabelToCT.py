"""Label map to CT: the window around the sections of ``synthct.scene``. This file connects and computes nothing."""

import sys
from pathlib import Path
from typing import Annotated, Union

# In a clone `synthct` lies beside this module's folder; installed, it lies beside this file.
if not (Path(__file__).resolve().parent / "synthct").is_dir():
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import qt
import slicer
import vtk
from slicer import vtkMRMLLabelMapVolumeNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

from synthct.scene import label_selftest, selftest
from synthct.scene.data_set.section import DataSetSection
from synthct.scene.generation.section import GenerateSection
from synthct.scene.label_map.section import LabelMapSection
from synthct.scene.label_synthesis.section import LabelSynthesisSection
from synthct.scene.nodules.section import NoduleSection
from synthct.scene.parameter_widgets import connect_widgets
from synthct.scene.session import Session
from synthct.scene.training.section import TrainingSection
from synthct.synthesis.card import card_of
from synthct.synthesis.models_folder import installed_folders


class LabelToCT(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Label map to CT")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Radiotherapy")]
        self.parent.dependencies = []
        self.parent.contributors = ["The SyntheticCT developers"]
        self.parent.helpText = _(
            "Label maps of CTs, nodules planted into them by a click, and the CT that follows; pairs of image and mask "
            "from noise. Not a medical device."
        )
        self.parent.acknowledgementText = _("The published methods are named in the presets of SyntheticCT.")


@parameterNodeWrapper
class LabelToCTParameterNode:
    """The user's choices, saved with the scene."""

    ctVolume: vtkMRMLScalarVolumeNode
    nodules: Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007
    segmentation: Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007
    classTable: str
    mapping: str
    outline: bool = True
    labelOpacity: Annotated[int, WithinRange(0, 100)] = 80
    labelMap: vtkMRMLLabelMapVolumeNode
    noduleLibrary: str
    noduleTemplate: str
    noduleShare: Annotated[int, WithinRange(0, 100)] = 80
    noduleSurface: Annotated[float, WithinRange(0, 50)] = 10.0
    noduleCount: Annotated[int, WithinRange(1, 200)] = 3
    noduleSeed: Annotated[int, WithinRange(0, 999999999)] = 0
    noduleVaried: bool = True
    syntheticCT: vtkMRMLScalarVolumeNode
    model: str
    device: str = "auto"
    everyPlane: bool = False
    onlyChanged: bool = True
    sideBySide: bool = True
    trainingRun: str
    dataSetCohort: str
    dataSetLibrary: str
    dataSetModel: str
    dataSetSplit: str
    dataSetFolder: str
    dataSetCount: Annotated[int, WithinRange(1, 100_000)] = 100
    dataSetSize: Annotated[int, WithinRange(8, 512)] = 128
    dataSetSeed: Annotated[int, WithinRange(0, 2**31 - 1)] = 0
    dataSetShare: Annotated[float, WithinRange(0, 1)] = 0.8
    dataSetFewest: Annotated[int, WithinRange(1, 50)] = 1
    dataSetMost: Annotated[int, WithinRange(1, 50)] = 1
    dataSetLung: Annotated[float, WithinRange(0, 1)] = 0.1
    dataSetOnLung: Annotated[float, WithinRange(0, 1)] = 0.8
    dataSetSurface: Annotated[float, WithinRange(0, 200)] = 10.0
    dataSetRotation: Annotated[int, WithinRange(0, 180)] = 0
    dataSetSmallest: Annotated[float, WithinRange(0.2, 5)] = 1.0
    dataSetLargest: Annotated[float, WithinRange(0.2, 5)] = 1.0
    dataSetElastic: Annotated[float, WithinRange(0, 10)] = 0.0
    pairsModel: str
    pairsCount: Annotated[int, WithinRange(1, 100_000)] = 10
    pairsSeed: Annotated[int, WithinRange(0, 2**31 - 1)] = 0
    pairsClass: str
    pairsTruncated: bool = False
    pairsTruncation: Annotated[float, WithinRange(0, 1)] = 0.7
    pairsThreshold: Annotated[float, WithinRange(0.01, 2)] = 0.5
    pairsMinimum: Annotated[float, WithinRange(0, 1_000_000)] = 0.0
    pairsLargest: bool = False
    pairsCohort: str
    pairsFolder: str
    pairsDevice: str = "auto"
    pairsSeedA: Annotated[int, WithinRange(0, 2**31 - 1)] = 0
    pairsSeedB: Annotated[int, WithinRange(0, 2**31 - 1)] = 1
    pairsPlace: Annotated[int, WithinRange(0, 100)] = 0
    pairsSteps: Annotated[int, WithinRange(2, 1000)] = 9
    pairsPreview: vtkMRMLScalarVolumeNode


class LabelToCTWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTags = []
        self._wasShown = False
        VTKObservationMixin.__init__(self)
        ScriptedLoadableModuleWidget.__init__(self, parent)  # without a parent it calls setup() at once

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/LabelToCT.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = LabelToCTLogic()
        session = self.logic.session
        self.labelMaps = LabelMapSection(self.ui.labelMapButton, session, self.parameters)
        self.nodules = NoduleSection(self.ui.nodulesButton, self.parameters, self.onNodules)
        self.synthesis = LabelSynthesisSection(
            self.ui.synthesiseButton, session, self.parameters, card_of, installed_folders
        )
        self.dataSet = DataSetSection(self.ui.dataSetButton, session, self.synthesis.devices, self.parameters, card_of)
        self.pairs = GenerateSection(self.ui.generateButton, session, self.parameters, card_of, installed_folders)
        # each has ui, update(), scene_closing() and close()
        self.sections = [self.labelMaps, self.nodules, self.synthesis, self.dataSet, self.pairs]
        self.training = TrainingSection(
            self.ui.trainingButton,
            session,
            self.synthesis.devices,
            "label-to-ct",
            self.onTrainingRun,
            self.onTrainedModel,
        )
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
        self.training.close()
        self.setParameterNode(None)
        self.logic.session.close()
        self.removeObservers()

    def enter(self):
        self.initializeParameterNode()
        self.synthesis.enter()

    def exit(self):
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
            parameterNode.trainingRun = parameterNode.trainingRun or self.training.run_path
            parts = [*self.sections, self.pairs.latent]
            self._parameterNodeGuiTags = [connect_widgets(parameterNode, part.ui) for part in parts]
            self._parameterNode = parameterNode
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParameterNodeModified)
            self.onParameterNodeModified()

    def onParameterNodeModified(self, caller=None, event=None):
        """Show what no widget is connected to by itself."""
        self.training.run_path = self._parameterNode.trainingRun
        for section in self.sections:
            section.update()

    def onNodules(self, labels=None, bounds=None):
        self.labelMaps.update()  # a label map with nodules is not made anew

    def onTrainingRun(self):
        if self._parameterNode:
            self._parameterNode.trainingRun = self.training.run_path

    def onTrainedModel(self, path):
        self.synthesis.models.path = path


class LabelToCTLogic(ScriptedLoadableModuleLogic):
    """What a script needs: the parameter node, and the session that jobs run in."""

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        self.session = Session()

    def getParameterNode(self):
        return LabelToCTParameterNode(super().getParameterNode())


class LabelToCTTest(ScriptedLoadableModuleTest):
    """Runs in Slicer (Reload & Test, CTest) and in the embedded host."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.delayDisplay("A volume keeps its place on the way to an image and back")
        selftest.check_geometry()
        self.setUp()
        self.delayDisplay("A nodule is planted by a click; the CT follows it and nothing else")
        label_selftest.check_plant_and_follow(slicer.util.getModuleWidget("LabelToCT"))
        self.delayDisplay("Test passed")
