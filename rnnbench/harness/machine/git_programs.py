"""Keep git from running programs that a repository names in its own configuration.

Anyone who passes on a folder with a `.git` also passes on its configuration. Programs that the user has chosen, in the
global or the system configuration, do run: git-lfs, for example.
"""

import os
from collections import defaultdict
from collections.abc import Mapping

# Always off: hooks, the file watcher, and what would write the user's index or a file beside it.
OFF = (
    "--no-optional-locks",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.splitIndex=false",
)
# In a partial clone git would fetch missing objects, through programs that the repository names (an ssh command, an
# upload-pack, a remote helper). The messages must be in English because rnnbench reads them.
QUIET = {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}

# Keys whose values git or git-lfs runs as programs while it checks out or compares files.
KEYS = (
    r"^(filter|hook|lfs\.(extension|customtransfer))\."
    r"|^lfs\.standalonetransferagent$"
    r"|^credential\.(.*\.)?helper$"
    r"|^diff\.(external|.*\.(textconv|command))$"
    r"|^core\.(sshcommand|askpass|gitproxy|editor|pager|alternaterefscommand)$"
)
QUESTION = ("config", "-z", "--show-scope", "--get-regexp", KEYS)
OF_THE_REPOSITORY = ("local", "worktree")


def overrides(answer: bytes, environment: Mapping[str, str]) -> dict[str, str]:
    """Environment variables that override the repository's values of `KEYS` with the user's own, or with none.

    `answer` is git's output for `QUESTION`: scope and `key\\nvalue` alternate, each followed by a NUL.
    """
    fields = os.fsdecode(answer).split("\0")[:-1]
    chosen: dict[str, list[str]] = defaultdict(list)  # key -> the user's values
    foreign: dict[str, None] = {}
    for scope, entry in zip(fields[::2], fields[1::2], strict=True):
        key, is_given, value = entry.partition("\n")
        if scope in OF_THE_REPOSITORY:
            foreign[key] = None
        else:
            chosen[key].append(value if is_given else "true")
    # An empty value comes first: it clears a list; for other keys only the last value counts.
    pairs = [(key, value) for key in foreign for value in ("", *chosen[key])]
    first = int(environment.get("GIT_CONFIG_COUNT") or 0)
    made = {"GIT_CONFIG_COUNT": str(first + len(pairs))}
    for number, (key, value) in enumerate(pairs, first):
        made |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return made
