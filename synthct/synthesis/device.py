"""Which device computes: what there is, with free memory, and why it is the CPU where it is."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from synthct.errors import UserError

_GIB = 2**30


@dataclass(frozen=True)
class DeviceInfo:
    """One device of this machine.

    ``free_bytes`` and ``total_bytes`` are None where the device does not tell; ``reason`` says, for the CPU,
    why there is no faster one.
    """

    name: str
    label: str
    free_bytes: int | None = None
    total_bytes: int | None = None
    reason: str = ""

    @property
    def description(self) -> str:
        """One line for a person: what it is, how much memory is free, or why there is no faster one."""
        text = self.label
        if self.free_bytes is not None and self.total_bytes is not None:
            text += f", {self.free_bytes / _GIB:.1f} of {self.total_bytes / _GIB:.1f} GiB free"
        return f"{text}. {self.reason}" if self.reason else text


def list_devices() -> list[DeviceInfo]:
    """Every device that can be chosen, the fastest kind first, the CPU last."""
    devices = []
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            label = torch.cuda.get_device_name(number)
            try:
                free, total = torch.cuda.mem_get_info(number)
            except RuntimeError:  # a device that another process holds alone
                devices.append(DeviceInfo(f"cuda:{number}", label, 0, None, "It is in use by another process."))
                continue
            devices.append(DeviceInfo(f"cuda:{number}", label, int(free), int(total)))
    if torch.backends.mps.is_available():
        devices.append(DeviceInfo("mps", "Apple GPU"))
    reason = "" if devices else _why_cpu()
    return [*devices, DeviceInfo("cpu", f"CPU, {torch.get_num_threads()} threads", reason=reason)]


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """Return the device ``name``: ``auto``, ``cpu``, ``mps``, ``cuda`` or ``cuda:N``.

    ``auto`` is the GPU with most free memory, else the CPU.

    Raises
    ------
    UserError
        A device that this machine or this PyTorch does not have; the message says why.
    """
    if isinstance(name, torch.device):
        return name
    devices = {device.name: device for device in list_devices()}
    if name == "auto":
        best = max(devices.values(), key=lambda device: (device.name != "cpu", device.free_bytes or 0))
        return torch.device(best.name)
    wanted = "cuda:0" if name == "cuda" else name
    if wanted in devices:
        return torch.device(wanted)
    why = devices["cpu"].reason if "cpu" in devices and devices["cpu"].reason else "It is not one of this machine's."
    raise UserError(f"There is no device {name}.", why, f"Choose one of auto, {', '.join(devices)}.")


def _why_cpu() -> str:
    if torch.version.cuda is None and torch.version.hip is None:
        return "This PyTorch was built without GPU support."
    if torch.cuda.device_count() == 0:
        return "No GPU, or no driver for it, was found."
    return "The GPU's driver does not fit this PyTorch."
