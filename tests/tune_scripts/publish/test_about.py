"""What is said of published results."""

from __future__ import annotations

import re

from tune_scripts.publish.about import commands_in_words, machine_in_words


def test_a_command_that_was_started_again_is_said_once() -> None:
    rows = [
        {"time": time, "code_version": code, "command": command}
        for time, code, command in (("t1", "a", "one"), ("t2", "a", "two"), ("t3", "b", "one"))
    ]
    assert commands_in_words(rows) == [
        "`one` (started t1, 2 times until t3; code a, b)",
        "`two` (started t2; code a)",
    ]


def test_the_machine_is_described_by_its_processor(tmp_path, monkeypatch) -> None:
    assert re.fullmatch(r"\d+ cores, \S.*", machine_in_words())
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nmodel name\t: other\n")
    monkeypatch.setattr("tune_scripts.publish.about._CPU_INFO", info)
    assert machine_in_words().endswith(" cores, Some CPU @ 2 GHz")
