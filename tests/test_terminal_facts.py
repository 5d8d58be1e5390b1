"""What the doctor says of a terminal, and what it says to set."""

from __future__ import annotations

import pytest

from workbench.cli.terminal import terminal_facts


@pytest.mark.parametrize(
    ("env", "colours", "said"),
    [
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "truecolor", ""),
        ({"TERM": "linux"}, "standard", ""),  # it has no more than sixteen
        ({"TERM": "xterm"}, "standard", "export TERM=xterm-256color"),
        ({"TERM": "dumb"}, None, "export TERM=xterm-256color"),
        ({"TERM": "screen", "TMUX": "/tmp/tmux"}, "standard", 'set -g default-terminal "tmux-256color"'),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/tmux"}, "256", "set -g set-clipboard on"),
        ({"TERM": "screen", "STY": "1.pts"}, "standard", "term screen-256color"),
        ({"TERM": "xterm-256color", "SSH_CONNECTION": "a b c d"}, "256", "export COLORTERM=truecolor"),
    ],
)
def test_advice_is_for_what_is_missing(env: dict[str, str], colours: str | None, said: str) -> None:
    advice = " ".join(terminal_facts(env, colours, "utf-8").advice)
    assert said in advice
    assert bool(said) == bool(advice)


def test_what_was_detected_is_named() -> None:
    facts = terminal_facts({"TERM": "tmux-256color", "TMUX": "x", "SSH_TTY": "/dev/pts/1"}, "256", "ascii")
    assert (facts.colours, facts.multiplexer, facts.ssh[:3]) == ("256 colours", "tmux", "yes")
    assert "OSC 52" in facts.clipboard
    assert "export LC_ALL=C.UTF-8" in facts.advice[0]
    assert "NO_COLOR" in terminal_facts({"TERM": "xterm", "NO_COLOR": ""}, "standard", "utf-8").colours
    assert "files" in terminal_facts({"TERM": "linux"}, "standard", "utf-8").clipboard
