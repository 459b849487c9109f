"""What can be made: each mode is one way in which ACS/WFC was used. Plain data."""

from __future__ import annotations

from dataclasses import dataclass

SM4_MJD = 54962.0
"""The servicing mission of May 2009: new electronics, so calacs takes another road after it."""
CYCLE24_MJD = 57662.0
"""From here on subarrays have the dark-time overhead of full frames."""


@dataclass(frozen=True)
class Mode:
    """One way of observing.

    Attributes
    ----------
    summary : str
        For people.
    expstart : float
        MJD of the first exposure; decides the epoch.
    exposures : int
        How many, unless the caller says otherwise.
    member : str
        MEMTYPE of the members (``EXP-DTH``, ``EXP-CRJ``, ``EXP-RPT``), or empty: no association.
    ccdamp, ccdgain, jwrotype, aperture
        The keywords of these names.
    readout : str
        See `acsrecipe.demo.geometry.cut_windows`.
    filters : (str, str)
        FILTER1, FILTER2.
    lrfwave : float
        Central wavelength of a ramp filter, Angstrom; else 0.
    exptime : float
        Seconds.
    imagetyp : str
        ``EXT``, ``BIAS`` or ``DARK``.
    flashdur : float
        Seconds of post-flash.
    sink : bool
        SINKCORR is PERFORM.
    true_size : bool
        Only at true size: the bias shift correction reads fixed rows, and on small frames calacs crashes.
    """

    summary: str
    expstart: float = 53807.25
    exposures: int = 2
    member: str = "EXP-DTH"
    ccdamp: str = "ABCD"
    ccdgain: float = 2.0
    jwrotype: str = "CLAMP"
    aperture: str = "WFC"
    readout: str = "full"
    filters: tuple[str, str] = ("F606W", "CLEAR2L")
    lrfwave: float = 0.0
    exptime: float = 500.0
    imagetyp: str = "EXT"
    flashdur: float = 0.0
    sink: bool = False
    true_size: bool = False

    @property
    def after_sm4(self) -> bool:
        """Taken after the servicing mission of 2009."""
        return self.expstart >= SM4_MJD

    @property
    def is_subarray(self) -> bool:
        """Only a part of one chip is read."""
        return self.readout != "full"


_POST = 57000.25
_LATE = 58000.25

MODES: dict[str, Mode] = {
    "pre_dth": Mode("2006, dithered full frames", exposures=4),
    "pre_sub": Mode("2006, one subarray of amplifier C", exposures=1, ccdamp="C", readout="2K", aperture="WFC2C-2K"),
}
"""By name. `pre_dth` is the case of STScI's ACS/WFC reduction notebook."""
