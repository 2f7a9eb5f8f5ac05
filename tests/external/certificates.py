"""Certificates for tests, as files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Pair:
    """A certificate, its key, and the authority that has signed it."""

    certificate: Path
    key: Path
    authority: Path


def make_pair(folder: Path, name: str) -> Pair:
    """Writes a pair for a host, signed by an authority that signs nothing else."""
    pair = Pair(*(folder / f"{what}.pem" for what in ("certificate", "key", "authority")))
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(pair.authority))
    issued = authority.issue_cert(name)
    issued.private_key_pem.write_to_path(str(pair.key))
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(pair.certificate), append=True)
    return pair
