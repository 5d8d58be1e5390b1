"""What kind of terminal this is, by what it says of itself in the environment, and what to set for a better one."""

from __future__ import annotations

from collections.abc import Mapping

from workbench.protocol import Frozen

COLOURS = {"truecolor": "16 million colours", "256": "256 colours", "standard": "16 colours", "windows": "16 colours"}
"""By Rich's names for what a terminal has."""

MULTIPLEXERS = {"TMUX": "tmux", "STY": "screen", "ZELLIJ": "zellij"}
"""By the variables that they set."""

CUT = {"tmux": "set -g set-clipboard on", "screen": ""}
"""What lets a program's OSC 52 through to the clipboard; screen has nothing of the kind."""


class TerminalFacts(Frozen):
    """In words: what was detected, and lines of advice, none where there is nothing to set."""

    terminal: str
    colours: str
    multiplexer: str
    ssh: str
    clipboard: str
    advice: tuple[str, ...]


def terminal_facts(env: Mapping[str, str], color_system: str | None, encoding: str) -> TerminalFacts:
    """``color_system`` is Rich's name for the colours, None where there are none; ``encoding`` is that of stdout."""
    term = env.get("TERM", "")
    multiplexer = next((name for variable, name in MULTIPLEXERS.items() if env.get(variable)), "")
    remote = bool(env.get("SSH_CONNECTION") or env.get("SSH_TTY"))
    no_colour = "NO_COLOR" in env
    colours = "none (NO_COLOR is set)" if no_colour else COLOURS.get(color_system or "", "none")
    return TerminalFacts(
        terminal=f"{term or 'TERM is not set'}, {encoding}",
        colours=colours,
        multiplexer=multiplexer or "none",
        ssh="yes: nothing moves slowly, and the cursor does not blink" if remote else "no",
        clipboard=_clipboard(term, multiplexer),
        advice=tuple(_advice(env, term, multiplexer, color_system, encoding, no_colour)),
    )


def _clipboard(term: str, multiplexer: str) -> str:
    if term in ("linux", "dumb", ""):
        return "none here; exports write files"
    if multiplexer == "screen":
        return "not through screen; exports write files"
    return "by OSC 52, where the terminal allows it; exports write files too"


def _advice(
    env: Mapping[str, str], term: str, multiplexer: str, color_system: str | None, encoding: str, no_colour: bool
) -> list[str]:
    found = []
    if "utf" not in encoding.lower():
        found.append(f"the terminal's encoding is {encoding}: export LC_ALL=C.UTF-8, or boxes and bars become ASCII")
    if term in ("", "dumb"):
        found.append("TERM names no terminal: export TERM=xterm-256color")
    elif multiplexer == "tmux" and "256" not in term and color_system == "standard":
        found.append('tmux says it has 16 colours: set -g default-terminal "tmux-256color"')
    elif multiplexer == "screen" and color_system == "standard":
        found.append("screen says it has 16 colours: put “term screen-256color” into ~/.screenrc")
    elif color_system == "standard" and term != "linux" and not no_colour:
        found.append("the terminal says it has 16 colours: export TERM=xterm-256color, if it has more")
    if color_system == "256" and not env.get("COLORTERM") and env.get("SSH_CONNECTION"):
        found.append("ssh does not pass COLORTERM on: export COLORTERM=truecolor, if the terminal has all colours")
    if CUT.get(multiplexer):
        found.append(f"for the clipboard through {multiplexer}: {CUT[multiplexer]}")
    if multiplexer == "tmux":
        found.append("for escape without a delay in tmux: set -sg escape-time 10")
    return found
