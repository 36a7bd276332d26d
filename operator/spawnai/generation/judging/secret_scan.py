"""Whether generated text holds something that looks like a real credential.

Claude is never given a secret, so what looks like one was invented or learned; both must not be
deployed. Only shapes that are unmistakable are listed: a false alarm would cost a paid repair.
"""

import re

# What it is, a literal part that every one has (looked for first: it costs almost nothing), and
# the whole shape.
_SHAPES = tuple(
    (kind, literal, re.compile(shape))
    for kind, literal, shape in (
        ("a DigitalOcean token", "_v1_", r"\bdo[opr]_v1_[0-9a-f]{64}\b"),
        ("an Anthropic API key", "sk-ant-", r"\bsk-ant-[A-Za-z0-9_-]{24,}"),
        ("an OpenAI API key", "sk-", r"\bsk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{24,}"),
        ("an AWS access key", "AKIA", r"\bAKIA[0-9A-Z]{16}\b"),
        ("a GitHub token", "gh", r"\bgh[pousr]_[A-Za-z0-9]{36}"),
        ("a GitHub token", "github_pat_", r"\bgithub_pat_[A-Za-z0-9_]{40,}"),
        ("a GitLab token", "glpat-", r"\bglpat-[A-Za-z0-9_-]{20,}"),
        ("a Slack token", "xox", r"\bxox[abeprs]-[A-Za-z0-9-]{20,}"),
        ("a Stripe key", "k_live_", r"\b[rs]k_live_[A-Za-z0-9]{20,}"),
        ("a Google API key", "AIza", r"\bAIza[0-9A-Za-z_-]{35}\b"),
        ("an npm token", "npm_", r"\bnpm_[A-Za-z0-9]{36}\b"),
        ("a private key", "PRIVATE KEY", r"-----BEGIN (?:[A-Z]{1,20} ){0,3}PRIVATE KEY-----"),
    )
)


def find_secret(text: str) -> tuple[str, int] | None:
    """What the first credential found is, and its line; never the credential itself."""
    for kind, literal, shape in _SHAPES:
        match = shape.search(text) if literal in text else None
        if match is not None:
            return kind, text.count("\n", 0, match.start()) + 1
    return None
