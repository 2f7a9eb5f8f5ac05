"""Operators that may take over from the policy, and the wrapper that lets them."""

from envs.operators.expert import Expert
from envs.operators.intervention import InterventionWrapper, Operator
from envs.operators.person import Person, PersonSettings

__all__ = ["Expert", "InterventionWrapper", "Operator", "Person", "PersonSettings"]
