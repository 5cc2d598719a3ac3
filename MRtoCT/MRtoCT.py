"""MR to CT: the window around ``synthct.scene.translation``. This file connects widgets and computes nothing."""

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

from synthct.errors import UserError
from synthct.scene import packages, selftest
from synthct.scene.bulk_section import BulkSection
from synthct.scene.cards import error_html
from synthct.scene.choosers import DeviceChooser, ModelChooser
from synthct.scene.depth_section import DepthSection
from synthct.scene.dicom_export import DicomExport
from synthct.scene.display import CT_WINDOWS
from synthct.scene.inputs import first_input
from synthct.scene.progress import result_html, show_progress, show_scores
from synthct.scene.result_check import Result, ResultCheck
from synthct.scene.session import Session
from synthct.scene.studies import INPUT_REFERENCE
from synthct.scene.training_section import TrainingSection
from synthct.scene.translation import Request, Translation
from synthct.scene.uncertainty import UncertaintyChoice, lacking_for
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
    bulkLabels: Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode]  # noqa: UP007
    bulkTable: str
    bulkVolume: vtkMRMLScalarVolumeNode
    trainingRun: str


class MRtoCTWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        self.logic = None
        self.translation = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self._wasShown = False
        self._askedForDevices = False
        VTKObservationMixin.__init__(self)
        ScriptedLoadableModuleWidget.__init__(self, parent)  # without a parent it calls setup() at once

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/MRtoCT.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = MRtoCTLogic()
        self.models = ModelChooser(
            self.ui.modelPathEdit, self.ui.modelCardLabel, card_of, self.onModelChosen, installed_folders
        )
        self.devices = DeviceChooser(self.ui.deviceComboBox, self.logic.session, self.onDeviceChosen)
        self.training = TrainingSection(
            self.ui.trainingCollapsibleButton,
            self.logic.session,
            self.devices,
            "mr-to-ct",
            self.onTrainingRun,
            self.onTrainedModel,
        )
        self.dicom = DicomExport(
            self.ui.dicomButton,
            self.ui.dicomAxialCheckBox,
            self.ui.dicomLabel,
            self.logic.session,
            lambda: self._parameterNode.outputVolume if self._parameterNode else None,
        )
        ui, session = self.ui, self.logic.session
        modes = (ui.dropoutCheckBox, ui.flipsCheckBox, ui.uncertaintyPlanesCheckBox)
        self.uncertainty = UncertaintyChoice(*modes, ui.samplesSpinBox, ui.showUncertaintyCheckBox, self.parameters)
        self.check = ResultCheck(
            ui.checkButton,
            ui.reportButton,
            ui.checkLabel,
            session,
            lambda: Result.from_parameters(self._parameterNode, self.models.card),
        )
        depth = (ui.angleSpinBox, ui.densityTableEdit, ui.depthButton, ui.depthTextLabel)
        self.depth = DepthSection(*depth, session, self.parameters)
        bulk = (ui.bulkTableEdit, ui.bulkCopyButton, ui.bulkButton, ui.bulkTextLabel)
        self.bulk = BulkSection(*bulk, self.parameters)
        for name in CT_WINDOWS:
            self.ui.windowComboBox.addItem(name)
        self.timer = qt.QTimer()
        self.timer.setInterval(100)
        self.timer.connect("timeout()", self.onTimer)
        self.ui.applyButton.connect("clicked(bool)", self.onApplyButton)
        self.ui.refreshDevicesButton.connect("clicked(bool)", self.onRefreshDevices)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartImportEvent, self.onSceneStartImport)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        missing = packages.missing()
        if missing:
            text = _("The first Apply will ask to install Python packages: {names}.")
            self.ui.statusLabel.text = text.format(names=", ".join(missing))
        self.initializeParameterNode()

    def parameters(self):
        return self._parameterNode

    def cleanup(self):
        self.timer.stop()
        self.devices.close()
        self.training.close()
        self.dicom.close()
        self.check.forget()
        self.depth.close()
        self.setParameterNode(None)
        self.logic.session.close()
        self.removeObservers()

    def enter(self):
        self.initializeParameterNode()
        self.models.offer_installed()
        if not self._askedForDevices:
            self._askedForDevices = True
            self.devices.refresh()

    def exit(self):
        self.setParameterNode(None)

    def onSceneStartClose(self, caller=None, event=None):
        if self.translation is not None:
            self.translation.cancel()
        self.check.forget()
        self.depth.close()
        self._wasShown = self._parameterNode is not None
        self.setParameterNode(None)
        show_scores(self.ui.scoresTable, None)

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
        if not self._parameterNode.inputVolume:
            self._parameterNode.inputVolume = first_input()

    def setParameterNode(self, parameterNode):
        if self._parameterNode:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParameterNodeModified)
        self._parameterNode = None
        if parameterNode:
            parameterNode.model = parameterNode.model or self.models.path
            parameterNode.trainingRun = parameterNode.trainingRun or self.training.run_path
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self._parameterNode = parameterNode
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParameterNodeModified)
            self.onParameterNodeModified()

    def onParameterNodeModified(self, caller=None, event=None):
        """Show what no widget is connected to by itself, and whether Apply can be pressed."""
        node = self._parameterNode
        if node.model != self.models.path:
            self.models.path = node.model
        if node.device != self.devices.device:
            self.devices.device = node.device
        self.training.run_path = node.trainingRun
        self.depth.table = node.densityTable
        self.bulk.table = node.bulkTable
        for name in ("outputVolume", "uncertaintyVolume"):
            output = getattr(node, name)
            madeFrom = output.GetNodeReference(INPUT_REFERENCE) if output else None
            if madeFrom and node.inputVolume and madeFrom.GetID() != node.inputVolume.GetID():
                setattr(node, name, None)  # another patient's result is not replaced
        self.updateButtons()

    def onModelChosen(self):
        node = self._parameterNode
        if node:
            chosenByUser = node.model != self.models.path  # else it came with the scene
            node.model = self.models.path
            if chosenByUser:
                self.models.offer_planes(node)
            self.updateButtons()

    def onDeviceChosen(self):
        if self._parameterNode:
            self._parameterNode.device = self.devices.device

    def onTrainingRun(self):
        if self._parameterNode:
            self._parameterNode.trainingRun = self.training.run_path

    def onTrainedModel(self, path):
        self.models.path = path

    def onRefreshDevices(self, clicked=False):
        self.devices.refresh()

    def updateButtons(self):
        running = self.translation is not None
        node = self._parameterNode
        lacking = _("Choose an MR volume.") if not (node and node.inputVolume) else ""
        lacking = lacking or (_("Choose a model.") if self.models.card is None else "")
        lacking = lacking or (_("Tick a plane.") if not (node.axial or node.coronal or node.sagittal) else "")
        lacking = lacking or lacking_for(node, self.models.card)
        self.ui.applyButton.text = _("Cancel") if running else _("Apply")
        self.ui.applyButton.enabled = self.translation.state != "cancelling" if running else not lacking
        self.ui.applyButton.toolTip = _("End the work; the scene stays as it is.") if running else lacking
        for section in (self.ui.inputsCollapsibleButton, self.ui.outputsCollapsibleButton):
            section.enabled = not running
        self.ui.progressBar.setVisible(running)
        self.uncertainty.update(self.models.card)
        for part in (self.dicom, self.check, self.depth, self.bulk):
            part.update()

    def onApplyButton(self, clicked=False):
        if self.translation is not None:
            self.translation.cancel()
            self.updateButtons()
            return
        try:
            if not packages.ensure("MR to CT"):
                self.ui.statusLabel.text = _("Nothing was installed, nothing was translated.")
                return
            self.translation = self.logic.start(
                self._parameterNode, self.models.card, self.ui.windowComboBox.currentText
            )
        except UserError as error:
            self.showError(error)
            return
        self.models.remember()
        show_scores(self.ui.scoresTable, None)
        self.check.forget()
        show_progress(self.ui.progressBar, self.ui.statusLabel, None, _("Starting"))
        self.timer.start()
        self.updateButtons()

    def onTimer(self):
        """See how far the job is."""
        translation = self.translation
        translation.poll()
        if not translation.finished:
            cancelling = translation.state == "cancelling"
            waiting = _("Cancelling") if cancelling else _("Starting the worker")
            show_progress(
                self.ui.progressBar, self.ui.statusLabel, None if cancelling else translation.progress, waiting
            )
            return
        self.timer.stop()
        self.translation = None
        if self._parameterNode and translation.output_node:
            self._parameterNode.outputVolume = translation.output_node
            self._parameterNode.uncertaintyVolume = translation.deviation_node
            self.uncertainty.show()
            if self._parameterNode.checkResult:
                self.check.start()
        show_scores(self.ui.scoresTable, translation.scores)
        self.ui.statusLabel.text = result_html(translation)
        self.updateButtons()
        if translation.error is not None:
            self.showError(translation.error)

    def showError(self, error):
        self.ui.statusLabel.text = error_html(error)
        slicer.util.errorDisplay(str(error), windowTitle=_("MR to CT"))


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
