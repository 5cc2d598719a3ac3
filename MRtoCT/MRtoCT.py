"""MR to CT: the window around the sections of ``synthct.scene``. This file connects and computes nothing."""

import sys
from pathlib import Path
from typing import Annotated, Union

# In a clone `synthct` lies beside this module's folder; installed, it lies beside this file.
if not (Path(__file__).resolve().parent / "synthct").is_dir():
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import qt
import slicer
import vtk
from slicer import vtkMRMLLabelMapVolumeNode, vtkMRMLPlotChartNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
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

from synthct.scene import packages, selftest
from synthct.scene.inputs import first_input
from synthct.scene.mr_to_ct.bulk_section import BulkSection
from synthct.scene.mr_to_ct.depth_section import DepthSection
from synthct.scene.mr_to_ct.dicom_export import DicomExport
from synthct.scene.mr_to_ct.synthesis_section import MrSynthesisSection
from synthct.scene.parameter_widgets import connect_widgets
from synthct.scene.session import Session
from synthct.scene.training.section import TrainingSection
from synthct.scene.translation import Request, Translation
from synthct.synthesis.card import card_of
from synthct.synthesis.models_folder import installed_folders


class MRtoCT(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("MR to CT")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Radiotherapy")]
        self.parent.dependencies = []
        self.parent.contributors = ["The SyntheticCT developers"]
        self.parent.helpText = _("Turns an MR volume into a synthetic CT with a trained network. Not a medical device.")
        self.parent.acknowledgementText = _("The published methods are named in the presets of SyntheticCT.")


@parameterNodeWrapper
class MRtoCTParameterNode:
    """The user's choices, saved with the scene."""

    inputVolume: vtkMRMLScalarVolumeNode
    outputVolume: vtkMRMLScalarVolumeNode
    referenceVolume: vtkMRMLScalarVolumeNode
    model: str
    axial: bool = True
    coronal: bool = False
    sagittal: bool = False
    bodyMask: bool = True
    device: str = "auto"
    uncertaintyDropout: bool = False
    uncertaintyFlips: bool = False
    uncertaintyPlanes: bool = False
    uncertaintySamples: Annotated[int, WithinRange(2, 200)] = 10
    uncertaintyVolume: vtkMRMLScalarVolumeNode
    showUncertainty: bool = False
    checkResult: bool = True
    beamAngle: Annotated[int, WithinRange(0, 359)] = 0
    densityTable: str
    depthChart: vtkMRMLPlotChartNode
    bulkLabels: Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007
    bulkTable: str
    bulkVolume: vtkMRMLScalarVolumeNode
    trainingRun: str


class MRtoCTWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        VTKObservationMixin.__init__(self)
        ScriptedLoadableModuleWidget.__init__(self, parent)  # without a parent it calls setup() at once

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/MRtoCT.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = MRtoCTLogic()
        session = self.logic.session
        self.synthesis = MrSynthesisSection(
            self.ui, session, self.parameters, self.logic.start, card_of, installed_folders, self.updateButtons
        )
        self.models, self.devices, self.check = self.synthesis.models, self.synthesis.devices, self.synthesis.check
        self.dicom = DicomExport(
            self.ui.dicomButton,
            self.ui.dicomAxialCheckBox,
            self.ui.dicomLabel,
            session,
            lambda: self._parameterNode.outputVolume if self._parameterNode else None,
        )
        depth = (self.ui.angleSpinBox, self.ui.densityTableEdit, self.ui.depthButton, self.ui.depthTextLabel)
        self.depth = DepthSection(*depth, session, self.parameters)
        bulk = (self.ui.bulkTableEdit, self.ui.bulkCopyButton, self.ui.bulkButton, self.ui.bulkTextLabel)
        self.bulk = BulkSection(*bulk, self.parameters)
        self.training = TrainingSection(
            self.ui.trainingCollapsibleButton,
            session,
            self.devices,
            "mr-to-ct",
            self.onTrainingRun,
            self.onTrainedModel,
        )
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartImportEvent, self.onSceneStartImport)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        missing = packages.missing()
        if missing:
            text = _("The first Apply will ask to install Python packages: {names}.")
            self.ui.statusLabel.text = text.format(names=", ".join(missing))
        self.initializeParameterNode()

    @property
    def translation(self):
        """What is under way, or None."""
        return self.synthesis.run.translation

    def parameters(self):
        return self._parameterNode

    def cleanup(self):
        for section in (self.synthesis, self.training, self.dicom, self.depth):
            section.close()
        self.setParameterNode(None)
        self.logic.session.close()
        self.removeObservers()

    def enter(self):
        self.initializeParameterNode()
        self.synthesis.enter()

    def onSceneStartClose(self, caller=None, event=None):
        self.synthesis.scene_closing()
        self.depth.close()
        self.setParameterNode(None)

    def onSceneEndClose(self, caller=None, event=None):
        self.initializeParameterNode()

    def onSceneStartImport(self, caller=None, event=None):
        """Leave the choices alone while a scene is loaded: its volumes come one by one, and selectors would choose."""
        self.setParameterNode(None)

    def onSceneEndImport(self, caller=None, event=None):
        qt.QTimer.singleShot(0, self.initializeParameterNode)  # once the selectors list what was loaded

    def initializeParameterNode(self):
        if self._parameterNode is None:
            self.setParameterNode(self.logic.getParameterNode())
        if not self._parameterNode.inputVolume:
            self._parameterNode.inputVolume = first_input()

    def setParameterNode(self, parameterNode):
        """Connect the widgets; they stay connected while another module is shown, for a job may end meanwhile."""
        if self._parameterNode:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParameterNodeModified)
        self._parameterNode = None
        if parameterNode:
            parameterNode.trainingRun = parameterNode.trainingRun or self.training.run_path
            self._parameterNodeGuiTag = connect_widgets(parameterNode, self.ui)
            self._parameterNode = parameterNode
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParameterNodeModified)
            self.onParameterNodeModified()

    def onParameterNodeModified(self, caller=None, event=None):
        """Show what no widget is connected to by itself."""
        self.training.run_path = self._parameterNode.trainingRun
        self.updateButtons()

    def updateButtons(self):
        for section in (self.synthesis, self.dicom, self.depth, self.bulk):
            section.update()

    def onTrainingRun(self):
        if self._parameterNode:
            self._parameterNode.trainingRun = self.training.run_path

    def onTrainedModel(self, path):
        self.models.path = path


class MRtoCTLogic(ScriptedLoadableModuleLogic):
    """What a script needs: ``start(...)`` a translation and ``wait()`` for it."""

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        self.session = Session()

    def getParameterNode(self):
        return MRtoCTParameterNode(super().getParameterNode())

    def start(self, parameters, card, window):
        """Begin the translation that a parameter node describes; UserError names the node that cannot be used."""
        return Translation(Request.from_parameters(parameters, card, window), self.session)


class MRtoCTTest(ScriptedLoadableModuleTest):
    """Runs in Slicer (Reload & Test, CTest) and in the embedded host."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.delayDisplay("A volume keeps its place on the way to an image and back")
        selftest.check_geometry()
        self.setUp()
        self.delayDisplay("Apply makes a CT in the place of the MR")
        selftest.check_apply(slicer.util.getModuleWidget("MRtoCT"))
        self.delayDisplay("Test passed")
