"""The few CTK widgets that the modules use, on PySide6."""

from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from .path_line_edit import ctkPathLineEdit


def _stored(kind, name):
    return QtCore.Property(kind, lambda self: getattr(self, name), lambda self, value: setattr(self, name, kind(value)))


class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A titled frame that hides its children when collapsed."""

    contentsCollapsed = QtCore.Signal(bool)

    def __init__(self, *arguments: Any):
        text = arguments[0] if arguments and isinstance(arguments[0], str) else ""
        parent = arguments[-1] if arguments and not isinstance(arguments[-1], str) else None
        super().__init__(parent)
        self._hidden_children: list[QtWidgets.QWidget] = []
        self.setText(text)
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Preferred, QtWidgets.QSizePolicy.Policy.Preferred)
        self.setContentsMargins(0, self._header_height(), 0, 0)
        self.toggled.connect(lambda checked: self._set_collapsed(not checked))

    def _header_height(self):
        return self.fontMetrics().height() + 8

    def _set_collapsed(self, collapsed):
        if collapsed:
            self._hide_children()
        else:
            for child in self._hidden_children:
                child.show()
            self._hidden_children.clear()
        self.setMaximumHeight(self._header_height() if collapsed else 16777215)
        self.contentsCollapsed.emit(collapsed)

    def _hide_children(self):
        for child in self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindChildOption.FindDirectChildrenOnly):
            if not child.isHidden():
                child.hide()
                self._hidden_children.append(child)

    def showEvent(self, event):
        if not self.isChecked():
            self._hide_children()  # a .ui file collapses the button before it fills it
        super().showEvent(event)

    def _get_collapsed(self):
        return not self.isChecked()

    collapsed = QtCore.Property(bool, _get_collapsed, lambda self, value: self.setChecked(not value))

    def minimumSizeHint(self):
        if not self.isChecked() or self.layout() is None:
            return QtCore.QSize(80, self._header_height())
        return self.layout().totalMinimumSize()

    def sizeHint(self):
        if not self.isChecked() or self.layout() is None:
            return QtCore.QSize(200, self._header_height())
        return self.layout().totalSizeHint()

    def hitButton(self, position):
        return position.y() < self._header_height()

    def paintEvent(self, event):
        painter = QtWidgets.QStylePainter(self)
        header = QtWidgets.QStyleOptionButton()
        header.initFrom(self)
        header.rect = QtCore.QRect(0, 0, self.width(), self._header_height())
        header.state |= QtWidgets.QStyle.StateFlag.State_Raised
        painter.drawControl(QtWidgets.QStyle.ControlElement.CE_PushButtonBevel, header)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(6, header.rect.height() // 2 - 5, 10, 10)
        kind = QtWidgets.QStyle.PrimitiveElement
        painter.drawPrimitive(kind.PE_IndicatorArrowDown if self.isChecked() else kind.PE_IndicatorArrowRight, arrow)
        painter.setPen(self.palette().color(QtGui.QPalette.ColorRole.ButtonText))
        painter.drawText(
            header.rect.adjusted(22, 0, -4, 0),
            QtCore.Qt.AlignmentFlag.AlignVCenter | QtCore.Qt.TextFlag.TextShowMnemonic.value,
            self.text(),
        )


class ctkComboBox(QtWidgets.QComboBox):
    """A combo box with a text shown when nothing is selected."""

    def _get_default_text(self):
        return self.placeholderText()

    defaultText = QtCore.Property(str, _get_default_text, lambda self, text: self.setPlaceholderText(text))

    def _get_user_data(self):
        return "" if self.currentData() is None else str(self.currentData())

    def setCurrentUserDataAsString(self, data: str) -> None:
        """Select the item whose data reads ``data``; nothing where there is none."""
        self.setCurrentIndex(next((i for i in range(self.count()) if str(self.itemData(i)) == data), -1))

    currentUserDataAsString = QtCore.Property(str, _get_user_data, setCurrentUserDataAsString)


class ctkMessageBox(QtWidgets.QMessageBox):
    """A message box with a "don't show again" memory in QSettings."""

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._key = ""

    dontShowAgainSettingsKey = _stored(str, "_key")


class ctkSliderWidget(QtWidgets.QWidget):
    """A slider and a spin box that show one number."""

    valueChanged = QtCore.Signal(float)
    _STEPS = 1000

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal, self)
        self._slider.setMaximum(self._STEPS)
        self._spin_box = QtWidgets.QDoubleSpinBox(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider, 1)
        layout.addWidget(self._spin_box)
        self._slider.sliderMoved.connect(self._on_slider)
        self._spin_box.valueChanged.connect(self._on_value)

    def _on_slider(self, step):
        box = self._spin_box
        box.setValue(box.minimum() + step / self._STEPS * (box.maximum() - box.minimum()))

    def _on_value(self, value):
        self._show()
        self.valueChanged.emit(value)

    def _show(self):
        box = self._spin_box
        span = box.maximum() - box.minimum()
        self._slider.setValue(round((box.value() - box.minimum()) / span * self._STEPS) if span else 0)

    def setValue(self, value: float) -> None:
        """Show another number, the nearest within the limits."""
        self._spin_box.setValue(value)

    def _limit(name):
        def write(self, number):
            getattr(self._spin_box, f"set{name.capitalize()}")(number)
            self._show()

        return QtCore.Property(float, lambda self: getattr(self._spin_box, name)(), write)

    def _of_box(kind, name):
        setter = f"set{name[0].upper()}{name[1:]}"
        return QtCore.Property(
            kind,
            lambda self: getattr(self._spin_box, name)(),
            lambda self, value: getattr(self._spin_box, setter)(value),
        )

    value = QtCore.Property(float, lambda self: self._spin_box.value(), setValue)
    minimum, maximum = _limit("minimum"), _limit("maximum")
    singleStep, decimals = _of_box(float, "singleStep"), _of_box(int, "decimals")
    prefix, suffix = _of_box(str, "prefix"), _of_box(str, "suffix")


CLASSES = {
    kind.__name__: kind for kind in (ctkCollapsibleButton, ctkComboBox, ctkMessageBox, ctkPathLineEdit, ctkSliderWidget)
}
