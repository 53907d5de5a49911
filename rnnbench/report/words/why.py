"""Why a cell takes longer than its reference, in a few plain sentences."""

import math
from collections.abc import Iterable, Mapping

from rnnbench.analysis.gaps.between import Libraries, Step, faster_library
from rnnbench.analysis.gaps.breakdown import NAMES, Share, breakdown, in_one_piece, operators_per_step, overhead
from rnnbench.analysis.gaps.gap import Gap
from rnnbench.report.words.axes import one_line
from rnnbench.report.words.case_names import names
from rnnbench.report.words.units import duration, ratio, ratio_with_interval, round_digits, span, whole_percent
from rnnbench.store.profiles import Profile
from rnnbench.store.records import GRAPH_BACKENDS, Measurement
from rnnbench.text import plural

MAX_NAMED = 4
MAX_CASES = 3  # that one line names
MINUS = "\u2212"
AHEAD = "ahead of the reference"  # what is left if the last rung is faster
# Steps that count what the reference does more slowly than the last rung, if they are negative.
REFERENCES = {
    "kernels": "The reference's kernels take",
    "products": "The reference's products take",
    "besides": "The reference's gates, copies and dispatch take",
    "overhead": "The reference's dispatch takes",
}
REMOVES = (*GRAPH_BACKENDS, "overhead")  # steps whose size depends on the number of operators
# The name of a step in a figure, and in a sentence that says how much of the gap it explains.
LABELS: dict[str, tuple[str, str]] = {
    "hoisted": ("input product hoisted", "hoisting the input product recovers"),
    "transposed": ("weights stored as read", "storing the weights in the order of reading recovers"),
    "sequence": ("run as one module", "running the whole sequence in one module recovers"),
    "compiled": ("compiled", "compiling recovers"),
    "prepacked": ("products in the fastest library", "making each product in the fastest library recovers"),
    "cudagraph": ("recorded and replayed", "replaying a recorded graph recovers"),
    "copy": ("needless copy", "a needless copy costs"),
    "concatenation": ("concatenation", "putting tensors side by side costs"),
    "not hoisted": ("input product in every step", "a product of the input in every step, which could be one, costs"),
    "output product": (
        "output product in every step",
        "a product of the output in every step, which could be one after the loop, costs",
    ),
    "loop invariant": ("same value in every step", "computing the same value again in every step costs"),
    "weight gradients": (
        "weight gradients step by step",
        "a product for the weight gradients of every step, which could be one, costs",
    ),
    "threads": ("several threads", "handing the work to several threads costs"),
    "synchronisation": ("value read back", "reading a value back into Python costs"),
    "unused": ("result that nothing uses", "a result that nothing uses costs"),
    "small products": ("several small products", "several products of one input, which could be one, cost"),
    "overhead": ("dispatch and Python", "what is no kernel (dispatch, Python) takes"),
    "kernels": ("kernels", "kernels take"),
    "library": ("products in another library", "the library of the products costs"),
    "products": ("other products", "products that differ from the reference's cost"),
    "besides": ("gates, copies, dispatch", "gates, copies and dispatch take"),
    "rest": ("unexplained", "unexplained"),
}

# What to do about a cause.
CURES: dict[str, str] = {
    "copy": "use the tensor without a copy",
    "concatenation": "multiply each part with its own weight, and add the products",
    "not hoisted": "make the input product once for all steps, before the loop",
    "output product": "make the output product once for all steps, after the loop",
    "loop invariant": "compute the value once, before the loop",
    "weight gradients": "run it as rnnbench's `compiled`, which makes them one product",
    "threads": "run on one thread",
    "synchronisation": "check the value once, after the loop",
    "unused": "leave the unused result out",
    "small products": "stack the weights, and split one product",
    "library": "make the products in",
}


def far(gap: Gap, name: str, reference_name: str) -> str:
    """How long the cell takes compared with the reference, in one sentence."""
    times = ratio_with_interval(gap.ratio.value, gap.ratio.lower, gap.ratio.upper)
    durations = f"{duration(gap.start.value)} against {duration(gap.end.value)}"
    return f"{one_line(name)} takes {times} the time of {one_line(reference_name)}: {durations}."


def words(gap: Gap, name: str, reference_name: str, base: Profile | None = None) -> str:
    """How large the gap is, what explains it, what is left, and where the call's time goes.

    `base` is the profile of the cell called `name`.
    """
    sentences = [far(gap, name, reference_name)]
    if math.isnan(gap.seconds.lower):
        sentences.append("One replicate has no interval, so the gap is not taken apart: give it a larger budget.")
    elif not gap.seconds.lower > 0 and gap.ratio.lower > 1:  # the ratio varies less from process to process
        sentences.append("The difference is known too roughly to take it apart: give it a larger budget.")
    elif not gap.seconds.lower > 0:
        sentences.append("That is no slower beyond chance, so there is no gap to take apart.")
    else:
        sentences += _explained(gap, base)
    if base is not None and base.works:
        sentences += _goes(base)
        if not any(step.libraries for step in gap.steps):
            sentences += _faster(base)
    return " ".join(sentences)


def label(step: Step) -> str:
    """The name of a step in figures."""
    if step.kind == "rest" and step.seconds.upper < 0:
        return AHEAD
    if step.libraries is not None:
        return f"products in {one_line(step.libraries.other)}"
    return LABELS[step.kind][0]


def _explained(gap: Gap, base: Profile | None) -> Iterable[str]:
    named = gap.named
    # Causes first: they say what to change. Then what the rungs recover, and what remains between the two ends.
    gains = sorted((step for step in named if step.seconds.value > 0), key=lambda step: step.kind not in CURES)
    opening = f"Of the {duration(gap.seconds.value)} between them, "
    if gains:
        parts = [_part(step, base) for step in gains[:MAX_NAMED]]
        yield opening + "; ".join(parts) + "."
    for step in (step for step in named if step.seconds.value < 0):
        longer = duration(-step.seconds.value)
        if step.kind in REFERENCES:
            yield f"{REFERENCES[step.kind]} {longer} longer than its own."
        elif step.libraries is not None:
            own, other = one_line(step.libraries.own), one_line(step.libraries.other)
            yield f"Its products take {longer} less in {own} than they would in {other}."
        else:
            yield f"{_capital(label(step))}, it takes {longer} longer."
    share = gap.rest.share.value
    rest = duration(abs(gap.rest.seconds.value)) + (f" ({share_text(abs(share))})" if math.isfinite(share) else "")
    if not gains:
        yield f"{opening}nothing that was looked for explains any."
    elif gap.rest.seconds.lower > 0:
        yield f"{rest} is left unexplained."
    elif gap.rest.seconds.upper < 0:
        yield f"What is left of it runs {rest} faster than the reference."
    else:
        yield "Nothing beyond chance is left unexplained."
    if gap.note:
        yield f"{_capital(gap.note)}."
    cures = [_cure(step) for step in gains[:MAX_NAMED] if step.kind in CURES]
    if cures:
        yield f"To close it: {'; '.join(dict.fromkeys(cures))}."


def _part(step: Step, base: Profile | None) -> str:
    if step.libraries is not None:
        text = f"{_libraries(step.libraries)}, which costs {duration(step.seconds.value)}"
    else:
        text = f"{LABELS[step.kind][1]} {duration(step.seconds.value)}"
    if math.isfinite(step.share.value):
        interval = span(share_text(step.share.lower), share_text(step.share.upper))
        text += f", {share_text(step.share.value)} of it ({interval})"
    if step.what:
        text += f": {one_line(step.what)}" + (f", {plural(step.calls, 'time')} a call" if step.calls > 1 else "")
    if step.kind in REMOVES and base is not None and base.works and base.operators:
        operators = operators_per_step(base)
        saved = "which does away with the dispatch of" if step.kind in GRAPH_BACKENDS else "at"
        text += f", {saved} {_operators(operators)}"
    return text


def _libraries(libraries: Libraries) -> str:
    """`the same products take 2.20× as long in MKL as in oneDNN`."""
    own, other = one_line(libraries.own), one_line(libraries.other)
    return f"the same products take {ratio(libraries.ratio)} as long in {own} as in {other}"


def _cure(step: Step) -> str:
    return CURES[step.kind] + (f" {one_line(step.libraries.other)}" if step.libraries is not None else "")


def _goes(base: Profile) -> Iterable[str]:
    shares = breakdown(base)
    if reason := in_one_piece(base):
        yield f"Its call can't be taken apart: {reason}."
        return
    above = overhead(shares)
    kind = "launches and gaps" if base.kernels is not None else "dispatch and Python"
    operators = operators_per_step(base)
    counted = f" ({_operators(operators)}, {duration(_each(base, shares))} each)" if operators >= 1 and above else ""
    rest = sorted(_by_what(shares), key=lambda pair: -pair[1])
    kernels = ", ".join(f"{share_text(share)} {NAMES[what]}" for what, share in rest[:2] if share >= 0.01)
    yield f"{share_text(above)} of its call is {kind}{counted}" + (f", {kernels}." if kernels else ".")


def _operators(number: float) -> str:
    """`12.3 operators a step`, `1 operator a step`."""
    text = round_digits(number)
    return f"{text} operator{'' if text == '1' else 's'} a step"


def _faster(base: Profile) -> Iterable[str]:
    step = faster_library(base)
    if step is not None and step.libraries is not None:
        saved, other = duration(step.seconds.value), one_line(step.libraries.other)
        yield f"Its products would take {saved} less in {other}: {_libraries(step.libraries)}."


def _each(base: Profile, shares: list[Share]) -> float:
    """Seconds between kernels for each operator that is called."""
    calls = sum(operator.calls for operator in base.operators)
    return sum(share.seconds.value for share in shares if share.what in ("overhead", "gaps")) / calls


def _by_what(shares: list[Share]) -> Iterable[tuple[str, float]]:
    kinds = dict.fromkeys(share.what for share in shares if share.what not in ("overhead", "gaps"))
    return ((what, sum(share.share for share in shares if share.what == what)) for what in kinds)


def share_text(share: float) -> str:
    """`35%`, with a minus that is as wide as a plus."""
    return whole_percent(share).replace("-", MINUS)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def not_profiled(profiles: Mapping[str, Profile], known: Mapping[str, Measurement]) -> list[str]:
    """A line for each reason why cases were not profiled, with the first of them; `known`: all cases of the run."""
    called = names(measurement.case for measurement in known.values())
    by_reason: dict[str, list[str]] = {}
    for key, profile in profiles.items():
        if not profile.works:
            by_reason.setdefault(one_line(profile.reason), []).append(called.name(known[key].case))
    lines = []
    for reason, cases in by_reason.items():
        more = f"; and {plural(len(cases) - MAX_CASES, 'more case')}" if len(cases) > MAX_CASES else ""
        lines.append(f"not profiled: {'; '.join(cases[:MAX_CASES])}{more}: {reason}")
    return lines
