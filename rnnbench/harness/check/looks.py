"""When a check looks at its cases: how many pairs of workers a verdict takes."""

# Pairs of workers before the first look. A case whose processes are in one of two modes at random looks slower in all
# of n pairs with a chance of 1/4^n. With four pairs, 5% of suites with six such cases had a false alarm.
MIN_PAIRS = 6
# Pairs before a case may be `unchanged`: if half of the head's processes are slow, n pairs miss them all with a chance
# of 1/2^n. With four pairs, 8% of such cases were `unchanged`; with eight, 1% are.
MIN_PAIRS_FOR_UNCHANGED = 8
LOOK_GROWTH = 1.3  # of the number of pairs from look to look
# From this many pairs on, the lowest and the highest ratios of a case are left out. With fewer pairs, that leaves too
# few to know how much pairs differ: in simulations with stalls, more slowdowns are then found without it.
MIN_PAIRS_TO_TRIM = 8
PAIRS_TO_CHOOSE = 2  # before the slowest cases are chosen, if there is no time for all
