"""Loopback servers that speak MAST's and CRDS's wire formats from a demo on disk, for `acsrecipe demo --served`.

They serve one machine's own demo to itself: nothing in them is made for the open network. The tests add faults.
"""
