"""Names and values of the module ALP4: numbers of the interface of ViALUX's ALP library, as ALP4lib 1.1.0 has them.

What the library calls by other names, and ALP4lib does not have, stands in `library`.
"""

from __future__ import annotations

import ctypes as ct

# Of every call.
ALP_DEFAULT = 0
ALP_ENABLE = 1
ALP_OK = 0
ALP_NOT_ONLINE = 1001

# Of the device: what DevInquire, DevControl and DevControlEx take.
ALP_DEVICE_NUMBER = 2000
ALP_VERSION = 2001
ALP_DEV_STATE = 2002
ALP_AVAIL_MEMORY = 2003
ALP_DDC_FPGA_TEMPERATURE = 2050
ALP_APPS_FPGA_TEMPERATURE = 2051
ALP_PCB_TEMPERATURE = 2052
ALP_SYNCH_POLARITY = 2004
ALP_TRIGGER_EDGE = 2005
ALP_LEVEL_HIGH = 2006
ALP_LEVEL_LOW = 2007
ALP_EDGE_FALLING = 2008
ALP_EDGE_RISING = 2009
ALP_TRIGGER_TIME_OUT = 2014
ALP_TIME_OUT_ENABLE = 0
ALP_TIME_OUT_DISABLE = 1
ALP_USB_CONNECTION = 2016
ALP_DEV_DMDTYPE = 2021
ALP_DEV_DISPLAY_HEIGHT = 2057
ALP_DEV_DISPLAY_WIDTH = 2058
ALP_DEV_DMD_MODE = 2064
ALP_DMD_RESUME = 0
ALP_DMD_POWER_FLOAT = 1
ALP_PWM_LEVEL = 2063
ALP_DEV_DYN_SYNCH_OUT1_GATE = 2023
ALP_DEV_DYN_SYNCH_OUT2_GATE = 2024
ALP_DEV_DYN_SYNCH_OUT3_GATE = 2025

# Kinds of micromirror device.
ALP_DMDTYPE_XGA = 1
ALP_DMDTYPE_SXGA_PLUS = 2
ALP_DMDTYPE_1080P_095A = 3
ALP_DMDTYPE_XGA_07A = 4
ALP_DMDTYPE_XGA_055A = 5
ALP_DMDTYPE_XGA_055X = 6
ALP_DMDTYPE_WUXGA_096A = 7
ALP_DMDTYPE_WQXGA_400MHZ_090A = 8
ALP_DMDTYPE_WQXGA_480MHZ_090A = 9
ALP_DMDTYPE_WXGA_S450 = 12
ALP_DMDTYPE_DISCONNECT = 255

# Of a sequence: what SeqControl, SeqInquire and SeqPut take.
ALP_SEQ_REPEAT = 2100
ALP_SEQ_REPETE = ALP_SEQ_REPEAT
ALP_FIRSTFRAME = 2101
ALP_LASTFRAME = 2102
ALP_BITNUM = 2103
ALP_BIN_MODE = 2104
ALP_BIN_NORMAL = 2105
ALP_BIN_UNINTERRUPTED = 2106
ALP_PWM_MODE = 2107
ALP_FLEX_PWM = 3
ALP_DATA_FORMAT = 2110
ALP_DATA_MSB_ALIGN = 0
ALP_DATA_LSB_ALIGN = 1
ALP_DATA_BINARY_TOPDOWN = 2
ALP_DATA_BINARY_BOTTOMUP = 3
ALP_SEQ_PUT_LOCK = 2119
ALP_FIRSTLINE = 2111
ALP_LASTLINE = 2112
ALP_LINE_INC = 2113
ALP_SCROLL_FROM_ROW = 2123
ALP_SCROLL_TO_ROW = 2124
ALP_FLUT_MODE = 2118
ALP_FLUT_NONE = 0
ALP_FLUT_9BIT = 1
ALP_FLUT_18BIT = 2
ALP_FLUT_ENTRIES9 = 2120
ALP_FLUT_OFFSET9 = 2122
ALP_SEQ_DMD_LINES = 2125
ALP_X_SHEAR_SELECT = 2132
ALP_DMD_MASK_SELECT = 2134
ALP_DMD_MASK_16X16 = ALP_ENABLE
ALP_DMD_MASK_16X8 = 2
ALP_BITPLANES = 2200
ALP_PICNUM = 2201
ALP_PICTURE_TIME = 2203
ALP_ILLUMINATE_TIME = 2204
ALP_SYNCH_DELAY = 2205
ALP_SYNCH_PULSEWIDTH = 2206
ALP_TRIGGER_IN_DELAY = 2207
ALP_MAX_SYNCH_DELAY = 2209
ALP_MAX_TRIGGER_IN_DELAY = 2210
ALP_MIN_PICTURE_TIME = 2211
ALP_MIN_ILLUMINATE_TIME = 2212
ALP_MAX_PICTURE_TIME = 2213
ALP_ON_TIME = 2214
ALP_OFF_TIME = 2215
ALP_PUT_LINES = 1

# Of the projection: what ProjControl and ProjInquire take.
ALP_PROJ_MODE = 2300
ALP_MASTER = 2301
ALP_SLAVE = 2302
ALP_PROJ_STEP = 2329
ALP_PROJ_SYNC = 2303
ALP_SYNCHRONOUS = 2304
ALP_ASYNCHRONOUS = 2305
ALP_PROJ_INVERSION = 2306
ALP_PROJ_UPSIDE_DOWN = 2307
ALP_PROJ_STATE = 2400
ALP_FLUT_MAX_ENTRIES9 = 2324
ALP_FLUT_WRITE_9BIT = 2325
ALP_FLUT_WRITE_18BIT = 2326
ALP_X_SHEAR = 2337
ALP_DMD_MASK_WRITE = 2339
ALP_PROJ_QUEUE_MODE = 2314
ALP_PROJ_LEGACY = 0
ALP_PROJ_SEQUENCE_QUEUE = 1
ALP_PROJ_QUEUE_ID = 2315
ALP_PROJ_QUEUE_MAX_AVAIL = 2316
ALP_PROJ_QUEUE_AVAIL = 2317
ALP_PROJ_PROGRESS = 2318
ALP_PROJ_RESET_QUEUE = 2319
ALP_PROJ_ABORT_SEQUENCE = 2320
ALP_PROJ_ABORT_FRAME = 2321
ALP_PROJ_WAIT_UNTIL = 2323
ALP_PROJ_WAIT_PIC_TIME = 0
ALP_PROJ_WAIT_ILLU_TIME = 1

# Flags of tAlpProjProgress.
ALP_FLAG_QUEUE_IDLE = ct.c_ulong(1)
ALP_FLAG_SEQUENCE_ABORTING = ct.c_ulong(2)
ALP_FLAG_SEQUENCE_INDEFINITE = ct.c_ulong(4)
ALP_FLAG_FRAME_FINISHED = ct.c_ulong(8)
ALP_FLAG_RSVD0 = ct.c_ulong(16)


class tAlpDynSynchOutGate(ct.Structure):  # noqa: N801 - the library's name
    """Which pictures have a pulse on an output: its period, its active level, and a byte for each picture of it."""

    _fields_ = [("Period", ct.c_ubyte), ("Polarity", ct.c_ubyte), ("Gate", ct.c_ubyte * 16)]  # noqa: RUF012


class tFlutWrite(ct.Structure):  # noqa: N801
    """Entries of the look-up table of pictures."""

    _fields_ = [("nOffset", ct.c_long), ("nSize", ct.c_long), ("FrameNumbers", ct.c_ulong * 4096)]  # noqa: RUF012


class tAlpShearTable(ct.Structure):  # noqa: N801
    """By how many columns each row is shifted."""

    _fields_ = [("nOffset", ct.c_long), ("nSize", ct.c_long), ("nShiftDistance", ct.c_long * 2048)]  # noqa: RUF012


class tAlpDmdMask(ct.Structure):  # noqa: N801
    """Blocks of mirrors that stay dark."""

    _fields_ = [("nRowOffset", ct.c_long), ("nRowCount", ct.c_long), ("Bitmap", ct.c_ubyte * 2048)]  # noqa: RUF012


class tAlpProjProgress(ct.Structure):  # noqa: N801
    """How far the sequence is that is shown."""

    _fields_ = [  # noqa: RUF012
        (name, ct.c_ulong)
        for name in (
            "CurrentQueueId", "SequenceId", "nWaitingSequences", "nSequenceCounter", "nSequenceCounterUnderflow",
            "nFrameCounter", "nPictureTime", "nFramesPerSubSequence", "nFlagse",
        )
    ]  # fmt: skip


class tAlpLinePut(ct.Structure):  # noqa: N801
    """Which lines of which pictures AlpSeqPutEx writes."""

    _fields_ = [  # noqa: RUF012
        (name, ct.c_int32) for name in ("TransferMode", "PicOffset", "PicLoad", "LineOffset", "LineLoad")
    ]


ALP_ERRORS = {
    1001: "The specified ALP device has not been found or is not ready.",
    1002: "The ALP device is not in idle state.",
    1003: "The specified ALP device identifier is not valid.",
    1004: "The specified ALP device is already allocated.",
    1005: "One of the parameters is invalid.",
    1006: "Error accessing user data.",
    1007: "The requested memory is not available (full?).",
    1008: "The sequence specified is currently in use.",
    1009: "The ALP device has been stopped while image data transfer was active.",
    1010: "Initialization error.",
    1011: "Communication error.",
    1012: "The specified ALP has been removed.",
    1013: "The onboard FPGA is unconfigured.",
    1014: "The function is not supported by this version of the driver file VlxUsbLd.sys.",
    1018: "Waking up the DMD from PWR_FLOAT did not work (ALP_DMD_POWER_FLOAT)",
    1019: "Support in ALP drivers missing. Update drivers and power-cycle device.",
    1020: "SDRAM Initialization failed.",
}
"""What ALP4lib says of each return code."""
