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
    traps : float
        How dense the detector's traps are, over those of the other modes' PCTETAB; 0: charge leaves no trails, and
        the correction has nothing to correct. Full frames of four amplifiers only.
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
    traps: float = 0.0

    @property
    def after_sm4(self) -> bool:
        """Taken after the servicing mission of 2009."""
        return self.expstart >= SM4_MJD

    @property
    def is_subarray(self) -> bool:
        """Only a part of one chip is read."""
        return self.readout != "full"


_POST = 56800.25
_LATE = 58000.25

MODES: dict[str, Mode] = {
    "pre_dth": Mode("2006, dithered full frames", exposures=4),
    "pre_sub": Mode("2006, subarray, amplifier C", exposures=1, ccdamp="C", readout="2K", aperture="WFC2C-2K"),
    "post_dth": Mode("2014, dithered full frames, post-flashed", expstart=_POST, flashdur=5.0),
    "post_full": Mode(
        "2014, dithered full frames, DS_int and gain 2: bias shift, cross talk, stripes",
        expstart=_POST,
        jwrotype="DS_int",
        true_size=True,
    ),
    "post_sink": Mode("2017, dithered full frames, sink pixels flagged", expstart=_LATE, sink=True),
    "pre_cr": Mode("2006, CR-SPLIT pair", member="EXP-CRJ"),
    "pre_cr3": Mode("2006, CR-SPLIT triple", member="EXP-CRJ", exposures=3),
    "post_cr": Mode("2014, CR-SPLIT pair", member="EXP-CRJ", expstart=_POST),
    "pre_rpt": Mode("2006, repeated exposures (RPT-OBS)", member="EXP-RPT"),
    "pre_gain1": Mode("2006, full frame, gain 1", exposures=1, ccdgain=1.0),
    "pre_gain4": Mode("2006, full frame, gain 4", exposures=1, ccdgain=4.0),
    "post_gain05": Mode("2014, full frame, gain 0.5", expstart=_POST, exposures=1, ccdgain=0.5),
    "pre_ad": Mode("2006, full frame, amplifiers A and D", exposures=1, ccdamp="AD"),
    "pre_bc": Mode("2006, full frame, amplifiers B and C", exposures=1, ccdamp="BC"),
    "pre_sub2k_old": Mode(
        "2006, old subarray of 2046 rows, amplifier B", exposures=1, ccdamp="B", readout="old-2K", aperture="WFC1-2K"
    ),
    "pre_sub1k_old": Mode(
        "2006, old subarray of 1024 rows, amplifier B", exposures=1, ccdamp="B", readout="old-1K", aperture="WFC1-1K"
    ),
    "pre_sub512_old": Mode(
        "2006, old subarray of 512 rows, amplifier B", exposures=1, ccdamp="B", readout="old-512", aperture="WFC1-512"
    ),
    "post_sub1k_old": Mode(
        "2014, old subarray of 1024 rows, amplifier C",
        expstart=_POST,
        exposures=1,
        ccdamp="C",
        readout="old-1K",
        aperture="WFC2-1K",
    ),
    "post_sub2k": Mode(
        "2017, subarray of 2048 rows, amplifier A",
        expstart=_LATE,
        exposures=1,
        ccdamp="A",
        readout="2K",
        aperture="WFC1A-2K",
    ),
    "post_sub2k_flash": Mode(
        "2017, subarray of 2048 rows, amplifier D, post-flashed",
        expstart=_LATE,
        exposures=1,
        ccdamp="D",
        readout="2K",
        aperture="WFC2D-2K",
        flashdur=5.0,
    ),
    "post_sub2k_full": Mode(
        "2017, subarray of 2048 rows, amplifier B, DS_int and gain 2: bias shift",
        expstart=_LATE,
        exposures=1,
        ccdamp="B",
        readout="2K",
        aperture="WFC1B-2K",
        jwrotype="DS_int",
        true_size=True,
    ),
    "post_sub1k": Mode(
        "2017, subarray of 1024 rows, amplifier D, DS_int",
        expstart=_LATE,
        exposures=1,
        ccdamp="D",
        readout="1K",
        aperture="WFC2D-1K",
        jwrotype="DS_int",
    ),
    "post_sub512": Mode(
        "2017, subarray of 512 rows, amplifier B, DS_int",
        expstart=_LATE,
        exposures=1,
        ccdamp="B",
        readout="512",
        aperture="WFC1B-512",
        jwrotype="DS_int",
    ),
    "pre_pol": Mode(
        "2006, polarizer, old subarray, amplifier B",
        exposures=1,
        ccdamp="B",
        readout="old-2K",
        aperture="WFC1-POL0V",
        filters=("F606W", "POL0V"),
    ),
    "post_pol": Mode(
        "2017, polarizer, subarray, amplifier B",
        expstart=_LATE,
        exposures=1,
        ccdamp="B",
        readout="2K",
        aperture="WFC1-POL0UV",
        filters=("F606W", "POL0UV"),
    ),
    "pre_ramp": Mode(
        "2006, ramp filter, old subarray, amplifier B",
        exposures=1,
        ccdamp="B",
        readout="old-2K",
        aperture="WFC1-MRAMPQ",
        filters=("CLEAR1L", "FR914M"),
        lrfwave=8800.0,
    ),
    "post_ramp": Mode(
        "2017, ramp filter, subarray, amplifier B",
        expstart=_LATE,
        exposures=1,
        ccdamp="B",
        readout="2K",
        aperture="WFC1-MRAMPQ",
        filters=("CLEAR1L", "FR914M"),
        lrfwave=8112.5,
    ),
    "pre_bias": Mode("2006, bias frames", member="", imagetyp="BIAS", exptime=0.0),
    "post_bias": Mode("2014, bias frames", member="", imagetyp="BIAS", exptime=0.0, expstart=_POST),
    "pre_dark": Mode("2006, dark frames", member="", imagetyp="DARK", exptime=1000.0),
    "post_dark": Mode("2014, dark frames", member="", imagetyp="DARK", exptime=1000.0, expstart=_POST),
    "pre_cte": Mode("2006, dithered full frames with CTE trails along columns", exptime=340.0, traps=24.0),
    "post_cte": Mode(
        "2014, dithered full frames with CTE trails along columns and rows", expstart=_POST, exptime=340.0, traps=8.0
    ),
}
"""By name. `pre_dth` is the case of STScI's ACS/WFC reduction notebook."""
