#!/usr/bin/env bash
# Makes the tag of the version at this commit, and lets docs/ci.md name the account, the commit and the tag.
# Environment: GITHUB_REPOSITORY and GITHUB_SHA as in a job, BRANCH, and GH_TOKEN for `gh`.
set -euo pipefail
page=docs/ci.md
tag="v$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' rnnbench/version.py)"
here="repos/$GITHUB_REPOSITORY"
gh api --silent "$here/git/refs" --raw-field ref="refs/tags/$tag" --raw-field sha="$GITHUB_SHA"
sed -E -i \
  -e "s|[^ /]+/[^ /]+/(\.github/[^ @]+)@[^ ]+( # .*)?$|$GITHUB_REPOSITORY/\1@$GITHUB_SHA # $tag|" \
  -e "s|(githubusercontent\.com)/[^/]+/[^/]+/[^/]+/|\1/$GITHUB_REPOSITORY/$GITHUB_SHA/|" \
  -e "s|(git\+https://github\.com)/[^ @]+@[^ ,}]+|\1/$GITHUB_REPOSITORY@$GITHUB_SHA|" \
  "$page"
gh api --silent --method PUT "$here/contents/$page" --raw-field message="The page of CI names $tag" \
  --raw-field branch="$BRANCH" --raw-field sha="$(git rev-parse "HEAD:$page")" \
  --raw-field content="$(base64 -w 0 "$page")"
