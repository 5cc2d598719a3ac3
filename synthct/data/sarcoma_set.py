"""The soft-tissue sarcoma pairs: which files, and how to know that they arrived whole.

They stand in the IBSI's repository at the commit named here; every file is known there by its git blob id.
"""

from __future__ import annotations

import hashlib

URL = (
    "https://raw.githubusercontent.com/theibsi/data_sets/6da96021bc91faf4c0cb7fd7fa56a4225d2064a8/"
    "ibsi_validation/nifti/STS_{patient}/{image}.nii.gz"
)
IMAGES = {"MR": "MR_T1_image", "CT": "CT_image"}
PAGE = "https://github.com/theibsi/data_sets/tree/6da96021bc91faf4c0cb7fd7fa56a4225d2064a8/ibsi_validation"
LICENCE = "CC BY 3.0"
CITATION = (
    "Vallières M. et al. (2015), Soft-tissue-Sarcoma, The Cancer Imaging Archive, doi:10.7937/K9/TCIA.2015.7GO2GSKS; "
    "Vallières M. et al. (2015), Phys. Med. Biol. 60, doi:10.1088/0031-9155/60/14/5471; "
    "Clark K. et al. (2013), J. Digit. Imaging 26, doi:10.1007/s10278-013-9622-7. "
    "N4-corrected, normalised to fat and cropped by A. Zwanenburg (IBSI validation set)."
)
BLOBS = {
    "004": ("91d57b2bfb3db7702efdeeca209f9622170e2b83", "6f8120fdec38b76bd2fec9a4c3cb95c43137b8e7"),
    "006": ("9ab1c880c3751072dd43d0da6ed9ed529c3f13b1", "1bbb20bfe9c6643d7671a6614295c6736751ef41"),
    "007": ("e62b7be24d763c601917209332c643823a96d28e", "a321e8382650249d82981d251ebae3afb1a777b7"),
    "009": ("d292bb2046c8aba3b2c16411b3c4371b779fd388", "2d59116136d3485a5355fe446801ebb8a2163ca5"),
    "010": ("145108d1069734dcebb743619209b30117980baa", "a36ccc6902f604b61a3f91b2c366346744b4d672"),
    "011": ("98ef04324587f5d941c778af3ce61cec74bccca6", "4a7d023e70f7c12e3ce3c5cf356c39d8dcfbc4d6"),
    "016": ("e23258228058cda5ada609bab0ca779975e4f4c7", "b35fdffa71f12ee0082cf681406ad64e1d76ae93"),
    "017": ("6a49a5acdce489d70b4375793aa1a3fc10814b05", "14dda2cb6bfa5f75d6726203a2afb0569563e0b0"),
    "022": ("5b74a6f296091b4ec1c42c798120b7c2e0b574ba", "69daed43d897468057d6a4a54622e615020604b9"),
    "023": ("6f95300788d2210e35b5a7b9728bad367b6f5244", "6fc5db1072f72a2b12bdbffaad4c78d93565ba54"),
    "026": ("674cff0dfad080c8c3c53c1166da3fb7bbf3f89a", "6bf86469095d8911f580109224fb55c8270abf70"),
    "027": ("fa8448a93653bd7a3ef13c5ee63d12b1bd6a17fd", "417366c3d41144d2cc936f0601fd7a13f72a7671"),
    "029": ("dbb738aa6bbed8c803522487380ed9edd972bf05", "6c84224df7d072506c121d6bfa49d282643586b7"),
    "031": ("375a38f87bb93ada3a07b5021a73ec765979ffae", "35e9ad876c2b8b5022e712b808edd5f442b9fcf9"),
    "032": ("e21a182e1b4b5bb2c354e54207688c401849c96d", "e127fe15cf6a93bc4920df7c1f5b5feac3369b07"),
    "034": ("470d216bf27da0f5b4b3bdb3d8cd5ba4338ded1d", "8c2bd9321946bd40177b6c887edcdce6d0372d65"),
    "036": ("4a4ecb26bfb0544c4b93fe63d309e6d26cfbfa29", "e429fa27ff6c37fc8b2c114a3824baac83cdf680"),
    "040": ("a7282e62f19e9eb3d1a2390a3fc7bb9592a4aef3", "ec679607003b551b46aae3ca6d7b2f4de5fddee8"),
    "044": ("1339c23ef0633a5efa97af5125f5ffc93bbf4836", "ccc8f1f5d7570e7a5ffd5aa736ec2a1408408514"),
    "046": ("bc7a92a2f769c17b3741659456aae81394d7c0c3", "f8d1186f48b0e07385e1c2f1197e60744099054c"),
    "050": ("cc82be1f1103709954a73427ab94e7cb7dec8de6", "27026ae940b915f518250faf8c15ac461d8ad52d"),
}
"""Patient → git blob ids of the MR and the CT. 20 good pairs; STS_032 is badly aligned, and the check says so."""


def blob_id(content: bytes) -> str:
    """Return the id under which git knows a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
