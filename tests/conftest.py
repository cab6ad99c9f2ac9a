"""Property tests draw the same examples every time, so that one commit has one verdict.

To look for new counterexamples: pytest --hypothesis-profile=explore
"""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)  # a busy machine is no bug
settings.register_profile("explore", print_blob=True, deadline=None)
settings.load_profile("repeatable")
