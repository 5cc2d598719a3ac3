"""``synthct devices``: list the processors that can be used, with free memory."""

from __future__ import annotations

import argparse

from synthct.events import Events


def run(options: argparse.Namespace, events: Events) -> None:
    import dataclasses

    from synthct.synthesis.device import list_devices

    devices = list_devices()
    events.result(devices=[dataclasses.asdict(device) for device in devices])
    for device in devices:
        print(f"{device.name:10s} {device.description}")
