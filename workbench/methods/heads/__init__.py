"""Attention heads: what each adds to the answer, where it looks and what it writes, and what happens without it."""

from __future__ import annotations

from workbench.methods.heads.attention import AttentionRequest, AttentionResult
from workbench.methods.heads.attention import run as run_attention
from workbench.methods.heads.attention_figures import figures as attention_figures
from workbench.methods.heads.attention_figures import opened as attention_opened
from workbench.methods.heads.figures import figures, opened
from workbench.methods.heads.head_attribution import HeadsRequest, HeadsResult, run
from workbench.methods.heads.knock_out import KnockoutRequest, KnockoutResult
from workbench.methods.heads.knock_out import run as run_knock_out
from workbench.methods.heads.knock_out_figures import figures as knock_out_figures
from workbench.methods.heads.knock_out_figures import opened as knock_out_opened
from workbench.protocol import Method

HEADS = Method(
    "Attention heads",
    HeadsRequest,
    HeadsResult,
    run,
    figures,
    help="Print what each attention head and MLP adds to the logit difference target − foil.",
    key="A",
    opens=opened,
)

ATTENTION = Method(
    "Attention pattern",
    AttentionRequest,
    AttentionResult,
    run_attention,
    attention_figures,
    help="Print where one attention head looks, what it takes from there, and which tokens it writes.",
    key="V",
    opens=attention_opened,
)

KNOCKOUT = Method(
    "Knock-out",
    KnockoutRequest,
    KnockoutResult,
    run_knock_out,
    knock_out_figures,
    key="O",
    opens=knock_out_opened,
)
