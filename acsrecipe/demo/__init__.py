"""A synthetic ACS/WFC association with references, CRDS rules and the truth, deterministic by seed.

``dataset`` puts it together; ``modes`` lists what can be made; ``scene`` is the sky, ``detector`` the way from
electrons to data numbers, ``raw`` the files an archive would deliver; ``references``, ``tables`` and ``distortion`` are
what CRDS would deliver, ``rules`` why; ``truth`` compares products with what went in.

Nothing in it is data of the telescope: levels, traps and distortions are invented, formats are those of flight.
"""
