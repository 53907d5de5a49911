#!/usr/bin/env bash
# Post the verdicts of the newest check below results/ to a pull request, or replace the comment of the last check.
# Needs `gh`, $GH_TOKEN and $GITHUB_REPOSITORY.
set -euo pipefail
shopt -s nullglob
number=$1
files=(results/*-check-*/verdicts.md)
if ((${#files[@]} == 0)); then
    echo "no check below results/ has verdicts, so there is nothing to comment"
    exit 0
fi
# A check's folder ends with its time and a random number: <suite>-check-<time>-<number>.
file=$(printf '%s\n' "${files[@]}" | awk -F- '{ print $(NF-1), $0 }' | sort | tail -n 1 | cut -d ' ' -f 2-)
marker=$(head -n 1 "$file")
comments="repos/$GITHUB_REPOSITORY/issues/$number/comments"
ids=$(MARKER=$marker gh api --paginate "$comments" --jq '.[] | select(.body | startswith(env.MARKER)) | .id')
if [ -n "$ids" ]; then
    gh api --silent --method PATCH "repos/$GITHUB_REPOSITORY/issues/comments/${ids%%$'\n'*}" --field "body=@$file"
else
    gh api --silent --method POST "$comments" --field "body=@$file"
fi
