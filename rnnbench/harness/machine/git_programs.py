"""Keep git from running programs that a repository names in its own configuration.

Whoever hands over a folder with a `.git` hands over its configuration too. Programs that the user has chosen, in the
global or the system's configuration, do run: git-lfs, for example.
"""

import os
from collections import defaultdict
from collections.abc import Mapping

# Switched off for everybody: hooks, the file watcher, and what would write beside the user's index.
OFF = (
    "--no-optional-locks",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.splitIndex=false",
)
# In a partial clone git would fetch what is missing, through programs that the repository names (an ssh command, an
# upload-pack, a remote helper). Its messages are read, so they are asked for in English.
QUIET = {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}

# Keys whose values git, or git-lfs, runs as programs while files are checked out or compared.
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
    """Variables that undo what the repository says of `KEYS`: each key gets the user's own values, or is empty.

    `answer` is git's to `QUESTION`: scope and `key\\nvalue` in turns, each with a NUL behind it.
    """
    fields = os.fsdecode(answer).split("\0")[:-1]
    chosen: dict[str, list[str]] = defaultdict(list)  # by the user
    foreign: dict[str, None] = {}
    for scope, entry in zip(fields[::2], fields[1::2], strict=True):
        key, is_given, value = entry.partition("\n")
        if scope in OF_THE_REPOSITORY:
            foreign[key] = None
        else:
            chosen[key].append(value if is_given else "true")
    # An empty value first: it ends a list, and the last value of what is no list counts.
    pairs = [(key, value) for key in foreign for value in ("", *chosen[key])]
    first = int(environment.get("GIT_CONFIG_COUNT") or 0)
    made = {"GIT_CONFIG_COUNT": str(first + len(pairs))}
    for number, (key, value) in enumerate(pairs, first):
        made |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return made
