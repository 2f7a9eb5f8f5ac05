"""How a learner is reached by its robots, and how it keeps pace with them."""

from __future__ import annotations

import math
import ssl
from dataclasses import dataclass
from pathlib import Path

from e2hil_rllib.external.protocol.secure import check_exposure, read_token, server_context

DEFAULT_PORT = 5656


@dataclass(frozen=True)
class Connector:
    """Settings of the learner's side; it validates itself.

    Attributes:
        inbox: Folder for what has come from robots and is not in the episode log yet.
        host: Address to listen at; any but this machine's own needs a token.
        port: To listen at; of several runners each takes the next one.
        token_file: Holds what a robot has to know; None where anybody on this machine may come.
        certificate: PEM file of the server's certificate, for TLS; None for no encryption.
        private_key: PEM file of its key.
        lowest_update_ratio: Minibatches per step of a robot that are done before more steps are
            taken in.
        highest_update_ratio: Minibatches per step after which the learner waits for more steps.
        policy_interval: Between two policies for the robots, at least [s].
        seconds_per_iteration: How long a training iteration lasts [s].

    Raises:
        ValueError: A value is out of its range.
        UserError: The address needs a token, or a file cannot be used.
    """

    inbox: str
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    token_file: str | None = None
    certificate: str | None = None
    private_key: str | None = None
    lowest_update_ratio: float = 0.25
    highest_update_ratio: float = 4.0
    policy_interval: float = 0.5
    seconds_per_iteration: float = 0.8

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ValueError(f"external.port is {self.port}, expected 0 to 65535")
        low, high = self.lowest_update_ratio, self.highest_update_ratio
        if not 0 <= low <= high < math.inf or high == 0:
            raise ValueError(
                f"external.lowest_update_ratio is {low} and highest_update_ratio {high}, expected "
                "0 <= lowest <= highest, and a highest above 0"
            )
        if not 0 < self.seconds_per_iteration <= 60:
            raise ValueError(
                f"external.seconds_per_iteration is {self.seconds_per_iteration}, expected more "
                "than 0 and at most 60"
            )
        if not 0 <= self.policy_interval <= 3600:
            raise ValueError(
                f"external.policy_interval is {self.policy_interval}, expected 0 to 3600"
            )
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("external.certificate and private_key go together: set both or none")
        check_exposure(self.host, self.token())

    def token(self) -> str | None:
        """What a robot has to know.

        Raises:
            UserError: The file cannot be read, or is not kept secret.
        """
        return None if self.token_file is None else read_token(Path(self.token_file))

    def tls(self) -> ssl.SSLContext | None:
        """What encrypts the connections, None for no encryption.

        Raises:
            UserError: A file cannot be used.
        """
        if self.certificate is None or self.private_key is None:
            return None
        return server_context(Path(self.certificate), Path(self.private_key))
