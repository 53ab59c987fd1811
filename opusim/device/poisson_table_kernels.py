"""The alias tables of dim pixels' Poisson laws, which the camera's kernels hold as a constant.

Making them takes 10 ms in each process, so they are kept as text; a test makes them anew. By the name of this file
compiled kernels expire when it changes.
"""

from __future__ import annotations

import base64
import zlib

import numpy as np
from numpy.typing import NDArray

# Below this mean the Poisson law is exact. From here on the normal expansion of its inverse is
# within 1e-4 of it in total variation (9.2e-5 at 12, falling as 1 / lambda^1.5).
POISSON_THRESHOLD = 12.0

# Dim pixels: Poisson(lambda) = Poisson(node) + Poisson(rest), with a table for the nodes 0, 1/8, 2/8, ...
NODES_PER_ELECTRON = 8
_N_NODES = int(POISSON_THRESHOLD) * NODES_PER_ELECTRON
COLUMN_BITS = 6
N_COLUMNS = 1 << COLUMN_BITS  # Poisson(12) exceeds 63 with probability 1e-22
CHANCE_BITS = 32 - COLUMN_BITS


def alias_rows() -> NDArray[np.uint32]:
    """Return the alias tables (Walker 1977, Vose 1991) of the Poisson laws at the nodes.

    Returns
    -------
    ndarray of uint32, shape (nodes * 64,)
        The high 26 bits are the chance of keeping the column, in units of 2^-26; the low 6 the alias.

    Notes
    -----
    Decimal and whole numbers give the same table on every machine; a last bit of `exp` could change it.
    """
    from decimal import Context, Decimal, localcontext

    table = np.zeros((_N_NODES, N_COLUMNS), dtype=np.uint32)
    column_full = 1 << CHANCE_BITS
    with localcontext(Context(prec=30)):
        for node in range(_N_NODES):
            mean = Decimal(node) / NODES_PER_ELECTRON
            law = [(-mean).exp()]
            for count in range(1, N_COLUMNS):
                law.append(law[-1] * mean / count)
            # In units of 2^-32; what rounding leaves over goes to the likeliest count.
            share = [int((p * 2**32).to_integral_value()) for p in law]
            share[node // NODES_PER_ELECTRON] += 2**32 - sum(share)
            alias = list(range(N_COLUMNS))
            small = [i for i in alias if share[i] < column_full]
            large = [i for i in alias if share[i] > column_full]
            while small:  # as long as one is below the mean there is one above it
                low, high = small.pop(), large[-1]
                alias[low] = high
                share[high] -= column_full - share[low]
                if share[high] <= column_full:
                    large.pop()
                    if share[high] < column_full:
                        small.append(high)
            # A full column does not fit 26 bits, but being its own alias it does not need to.
            for i in range(N_COLUMNS):
                table[node, i] = min(share[i], column_full - 1) << COLUMN_BITS | alias[i]
    return table.reshape(-1)


def kept_alias_rows() -> NDArray[np.uint32]:
    """Return what `alias_rows` makes.

    Returns
    -------
    ndarray of uint32, shape (nodes * 64,)
        The tables.
    """
    # The bytes of like weight stand together, which are alike.
    planes = np.frombuffer(zlib.decompress(base64.b64decode(_KEPT)), dtype=np.uint8).reshape(4, -1)
    return np.ascontiguousarray(planes.T).view("<u4").reshape(-1).astype(np.uint32, copy=False)


# zlib and base64 of the tables.
_KEPT = """
eNqlm3k8VO0XwJl9YZA9ZCcqUYpSGjNmxhYq7UWhUqTFUlqEwcwQSfsuLVq0SGl/MWMWa4nSnvZ9J9Ly/J6ren+971vcO035r++cc77nnOde934qU/mzTx
kzSYWpDKj67VPGhH+ZSUwmZrLzgytLUk2CdBm6L1D95weHQ3gETlJJYmJCv+O4MqaHmJlUBv9BEia2E8bh8GVl5SlQIEy/LAk1+4PG4SGfjIMoTCHpFxV0
CX/jVTxYSfBTBmsoQwP/REMcX5ZULpYwIYnATAyhO2k8oSwpOQWPyIMVMDHA3/BvPBsmz0QG4Mc3oKXxBAL0x4ISYf3wCzr7qNI9/J2GOIxfniIhwAZCAW
WdU9g9/QOHPLFMpZyF90SiI3RSGQYaCU+E+afwCWUwPhyfpKRkD9Q0gkM+ySMFX5GELDFMwqM8GQtNIML8Yf8660+CBmB0D1T0Nxzhk1TF/FQpLB/uQHJ5
socHGvpvnFSmoopje3Jg/syy5HIIl6OmIQ75Mji/nsTO7Un2KC8v/26wC/onvDM+9CdFzg/V8nKk+mR09LfwJDi/YnwqB1kdj06+HBaBFv/Gs/ipaSQVZh
mEYWzIo6E7cSKJjMSXeKZxYfjkzi9I9kj5Lf3P4Eh4Mpw/Mb4iLZ1ZVg5R5AeHY6ELDnHIq5TjoL90FaZqMmwdTF4sZnUT/Dv+jYfzyyYQSXB2PZLh9JSL
U1gpXQf/GSeXMZNxEkKajMcsT4bzkywWp4i/F/Ab+iecRKbA/ovx0J8gCY4+jI5jsXCdBXQT/BuO8Mk4PIGYLiiD+auqssQsWH9Kt8E78U6eWS5mEzgyMq
y/XBWXkpKCS2HhWN0E/4FDHjk/CUSuXAVZvhQk8xScmI0G/8ZDf/xUIkmQBHExTgyjs1Ik/C5z/wmnJJeXw/nhyOQUKD8FyocVsCV4dhfB/4+TKVRk3OH+
kMhCj3IPWDzUL5FI+Oxu8e88PPFYeEJaupyiCqtPYcESJBI2n48Op1DhzKRIUjkyniI5GTYPZs+H6eMl7K7pThzh4cSnwPOLK/BKVoWdF+P4fAmfz2ezUe
EIr4rjw/4LKCJVqJ6FgziMj+d3jyPhaUj+/ApOulwhKof6cJLv4Ss8UeCQh/7EMD6XJxThkOHF89nQHduT4Pkf+r845GH+cH+IXLLCOwXq4+NheDwfT/gR
/7/0zziVxir3YOFTpek8YSVcO5YEmoflVxAqUrvGf/ApkJcg+6cQwcVF7MPhI1QQvhXQHU6liaF/fAVRJvCi+uBSoHeYfwX8eKZ6docj4ekIL4HnJ09I9W
GlsPHQPR6iEE/tHu/kPXDsVOhPKPIRs2DxfAkM7gkLqOD8h/4H/o2HTRPD+kkCL1EV7B4c24pUJH1PAofTPQ7jw6ZLUolw/r19UpDB56ci6j1TOdK0X+f+
fxzhWfC4hf2XwVXMEPORzSUQUlMrCJy0tDTOL/F/8nBfxWxP2H8valUmG66+pyeSgKeUIyVyusVpail42PRUDuIvIxPibFg+/AYph5iGCOgKR8KrSfDizv
OLLKRW0WH3UpHmVXyLndYdDnk+W/x9f6gZmXDzCHDyU4lSmD5HKuX+Bv+Jx/PF8PpP5PIUVJ9qeHBB86kVMHMO/CFxu8Nh/hLoj4D4E0Fe0tm8NKR4qZSU
zu0aR3g+5CWpUpKcIqL5qkmQxUuFlacROdJ0bvrv8e+8Oswf7g+HxKNU+tD98AQ4fMQ0KdJ9rowk43aDq6lLoD82vP+RC0VVvjUExD4R6iMS02Xp6YiAf9
E/4d/4igo4spx0srDSJ7MGLp0n0nYpB0mdC7/h1/j38JCH4ypBzh/IZ9DV4N54piG9l3K5MpmMm877Pf6dh/HZ8P5DoID9V0v9Zl+axiVxZTB9Oe9Xtf8f
R3gYH7n+I/OrBruH7J00XYbQsnQerysc4aEvuDNp8PqJxK+Fkw9nL40kQ3ov48kFv3P3LbwaA55TEn4FkST3qqyir6wlwOhpUi5sHPwGnpwn4P2+eCQ8w5
OQKoH3T+k8iiiDvnJkBSdNmsZJ53aq53X++S3eycOzSoLcPwq8vGm+fiOJHKhfli4jcbmCzvC8X+Lfw0M+1ZMI+w/PbwXk1UZykNHnwuy5XDLkoYDf4kh4
mD9HCvOH1094/lSrqcNzA7Yeps+FsQVkgUDh9Xsc4VMRvgLeP0J/mTXq2Zw0TufYw8hyOVnuRfH6L/4Tr1FB5Eg6r/9C7wyYfx3UR5KR0mXyzvQVQi+vrn
CGhicEKmD/Ie9TXVPLSOMgNJcsJ5PlAoGXl0L4f/xf2XfyBDhtFcj9l0Lkk6mmXsfhcEnppHSYPAxP8YJf4PUr/G8ezjqxArn/gfcCdL8s/zSkdbLO2uXC
zvS9qL/OHuIIDwemAl6/4fW/il6TlY2cGqR0nkAg53l5CYUU+A2/wZHwDI00qYz7rX4R9KeefQEZPTLkyXIFBaldIfL+D/53eIYmsqowf3j9ElVl+kEehi
ch0eVCigL5Bu9K71/i3/k0eExWwP7D62eV78osxgU4+HI5El2hgPUj0b1/j2topsFhg1dLLpninVG9sjY7gIQsjpwsQAZHoRBRvb29/4X/yL6Tl5KQ/InI
+UWD+18XkM4lw6WXK4RChcJL4S0SVcIUfhn+Gw93BR7ZMh4yP2rq/hqydBicB3mYgBCGF0EBv8MRHp7TFZ5SeP3zplX7ZWUHcJGlR6qHg1Pp7V1JpVb6/A
f/ER6Jz5XLpRzk+gf3X91/VSAcHR5ZCIMrOqNTqT4+/y7+7/AaWvCY5wmkcH694Pntp84IgLwADi5F4SWEtXuLqD4ZGT6/wL/zMi6PLJAS0+Wd+wfr1+Qh
1X8rngrTh8UjPP2/2SPpa8mQWYVXejm8/sH++V8IhIcOhIVCL6R2kaiKVlXl89/if/BI+jA+F14/YP+yGBoXO6sXeikqEfWVNB9aFfz5Fd7Jc9MFZF5nfG
9a5sqs7FUwPrL0Cpi5t6gyA2ZPy8jw/XV4JD6PJ5DD+uH9O7wbyaq7oDlKoEAODSoyON4ZPhCnZfr+JrxmD7hrZKR/368/dRcC6zsHl1oJ5VNh5hk0n8xq
31/iCA/187zgvQrPC86/X63/Kk0tigKubWUl/ALEfJVPVSbd95/437xWD5JcIFTA/JH7R3g5ZlzIWQ0PDYqIimwODcb3qaJnZmb+wP8VXqsHnHWFlxT+/q
qA++OXVReQowXtI7yICvtWBYunV1dDAf/C/8/DRVHIZGR4/0ZXG+kfkLMalu9NhYML1cFPNd03Ewr4RfadvJwnhIsiSyd7wf1bifR/FDwyEfWVsPEZVVUQ
h/r8/oV/Cw958IfP/4Fo3+OCt0Tl+cqOtfvXGdGU5iNvuHGsLTaSleXPlsa9Shz0dgReSd5+odcu5+sb/fRVleP5l3I+gbKE57OVqwAUhEyL4113e7TQDK
cUfzQheMModRtPZpRSPQCB8s1Po3WcChpdzZRRCBT8jWp82Ys9hboTqUooBIeYcfzz1YPUx2vc66mEAWCzerp36NXDzdZ3yB5KtAAM3Se2Zgyxet/gOmpd
D+wJgACVzwEx0w1MHI22ePTBvkegY/4bZvrHwpZip6GiqWqYDYKvbhsuv9/bX+2Rg+n1UiPMLQRLN5lWPi/eIj3Wv8etGFcK1gRA9embi25v6n022vCm6G
i0JlaDYFdk670NI9nN4rsZblUXzbEaBEmauYm5xm1TPet3Nw1f7I51BsGZKIOA/Fcfx706GPbwRG6MNkaDwCBLN2La/uCNo8+/LrGZVGOJsQBwomXEub0x
9Gn7L2aKmmxDRtCwFQA+JNI2qDKbnc8Rzx5ZFOcTjbEAsOLLqkDdotyPB9NmHnN5fPaMBQlTAoDp/nHZZbu+rEPWN5femfrS2Q1bAaBPW/whq+PWz0/dvh
39qNXlbWgPTAWA8oGOQYOeq9CHuwkEOVYUrZ2mRCwJgGPhuUPr2wOd7xf2m0/460MZ3hlTAUDjYyzno0qqzlRJn6xwdcmgDUGaWAoA+XcPjluWYDxjamwe
/tGNGWUxAiMsBQCV7dtqv5zPddztoX/sSaaOtKShL5YdAObbI3c5rjgRyoq2swF2o6TpnlwGhiUWgoSzdr74gE2qAynLSYvbZhg+natPQJ9AIqj2mLz67i
O71k9UrjmNHV98tcCKjJ5PAdNb1p9+Z3LL57DVSDHvXttB+8+uajgMvJ9d/RT+8xNO6hER+cmqVvOIi8ZpE1DzTWDkrMZLmuViunVC/1Md45dkrrdOMUG/
Q0/AypKvvQePeprSqHrK+rWz+IBBz/J+NNQFAFB/I89899khXnOdRhhsEfXcfiXaiK2BegTdAS75+OBPrypHxbIaiwd/wM/sx9wcro96BI+C2IIBp6Xz+h
fGt3++23I51HnVKZ9cS9TXkaWgaszp429ugvgvHhNsO9xy4zIowxoHou6gHdgqCg+vN3WtzK9nxowmzL6imJ/W37cH2hEkgqR3Qxfm+WwsJtTPeXS1nu1v
4MYsnNsTbQdXAr19bbJ5n4+qbtqVnWtNI1vNq8qZsM2WirKA1wCssgl7vU9vdEkRY0TMTccPr7K3M2+7MlB2cHcTcLqzzhf/dD3Vv8A6cUCD5LnOjniXUT
poO/gAfLlYk/74y8SbhRaHphRue/lOpUG7KMYE5Q4+PQYSdc7UuFpOOnjLwG5yTjOvzkDgNCbfHuUIr1gF7LT2TPE0bs7cXZLbWCbUXulh2NrvrpsGHlUC
d4eC0OKYNR5/xXzYuIr3Oc9cLTWzI8N3cJAeOgHPNwGd4uS8MFnIUpsll07ga+cEOx62kuyPM6WgKoAUCU5Uxt9PH/V5eMSiPVM12fd0NjYQCpn5feio+D
ZV4DZ35aGeB+eRlhe82mpbfuBLqHmsFeX2cE1UI3yiHWyas/7qzSejAx7zpjuWE5bUzJx/0V/NIUgP1Qj7fgRp2yghS2NmzqfXaJT5u4nWnzrFDwreGItO
wNGlYJqZiWFbuO25/a9YBbpvV14t0qNFaVls70tHM8KHhcCOcMLk2Cz6HMsl4VIq7mj8q4aOS+5NV4ahElArWAY6xpRlNX44rz3/2cTC5DXnJ0z/elG1zG
yMPhoBruqjgbjAZ9r7tg2+mdyG+/kjZtjOuH4+8UXSfFQCDhTMBq9fm7Zc3X5o9eL7xy/u6ZVz/9SCz82RXzb0UUMhYFqJGVg5uOKd4bCzIZZ9I46efCmf
M0dOGB+4vdoNjQAKiwJG3Gn+vJn59oGrzLH4WtHH1zJcsNmJuYxANBNQ3HAd7Ll+ZatD5MAPO09Trsv2xYHx0XuSSmLDI9EIqBkbDM5Fjd05wTqPy27e2F
DvfG/5s6Qceay4cZW9Wvc7TH0bBBKta6cOp/s+MCqwaa6sY+7NuvEsyHBW6HlXFAIi2kOAiRspzNPmhNB03Zqi268bGZsCd6xpjDf46ItCgHnpE3B/y4EP
PoevLZcvnzQm+XPv7YX3juNvkb9ww3t1LyA/mwF050/5XCdzyz9TfVDPy/FT7pHKMQPjBvXal9qb3q0AkUAAHu50EWpYPZ88/3JyQoNwYExTnEz62FJofX
iQRrcCtueItoEV0eMFzsA4oXS0adH+Rp387KS4zFZfyX2ubrcCajxP54IvHey03MVB/Zr7lvIUrzKufjLsIb2akGE71bhbAaZ3aL7AQjB8YkngpvxgXevT
67JsMm+ME5Hx9inLE6y7FVDueGwkCPWqHz3CIXHq5oG2Tdb7o7RX977XeCTh1LPtTt0KeC9SHwfe25+8xu05X23b+xJyky6Nfu4wq9Sa7xJT66HTnQCNku
wxwKtswLhNVjkBW/xa3ZhRtaOGDnk9/1i0lgllbM/uBCS/LJgGTrRONXr5ccWCuHbubT3VdZ/6jByz83jY2Hdjoi1o3QiQKc6VgzE5zc4rr67ecKRf44Ve
ct9JL3d+tFmz1rijKLsfoxsBkYMZ18GdAe3iosuBPrLDCeN0PBue9rRc+0Tisszd9qRbj24ug/RFhVbggN/WCf4uxiZHNKqt8pZ8GS1oUX1Rnb2u7vTzkQ
bkrgX4aYfZA/5Tl5QYRXVIuIpLIPvq0imcaM/RzGZBSXTfMFNa14fgnUvF8ZPB2Q0fj89eRi15HbnH26r6yQbL7AnV/ASK//IVdupdC1hRcjZ7LHjk/chj
T+yJfoXVHeXzHR+9b3KbZN246dq0u7sGaXUt4EWL04M4sFfTjDDNWmE53lq8EL/d71P6lcvmw3t6HA2+wNHrWsC7d+NrF4NxuDf8+Cfjt1D7hjb4HaQsDd
Wfs8vFZaJ3O3mCcdd3gtOZLxZfAOdH37Awyv+gnfiUT72S/Glq9ZNbB3kD2EOO+y2w7voQVc+1vrMHyPWsY5dZsukJLUaPXC483Bc0TW8UcbzF6i35OY4a
XQq4VL7r/G2wKHnnweKkBVuHnMp5ST09bdE5qY1C95Np+Am1kuE6pK4KyJZECIxA+bYrw+WkmEObZiRSbtQ0vH2xkjV1wIo5Cnr2I/+uV8h6/6UpJSB5+X
W8eVnJefEi3br+L4Pd30+uXGHr73JlXz/zMPMuV2j59hzwFwgLKwiTxHFMx51pZUb6X+cDwDnd1Cw9uOX1nET7LldoxYO8mk+gfm+0i6/29EK9ugy12+Gl
TVPiZpQMPjsu4t11yY7BXa6Q/gXWkXvawGH2BR3GA/eJCY65x69auETdxXuOjRniXNruJOfodzVBA2Xt+uvTgGV/7QmrVprFt4S+/5K4a8XOlVajJhySDN
ELKOkYb0LtQsAfP/+f1Hrc+k/4kr+GavdUVZ6PL2/nHaMrz9/pS25e74JXmi8/1FTeflpT2QoAp9GePPKpM0Fp3nLtRScPIUPJBMCqIdmWQ0MG2CiZABjB
9FBt7ogYR1Py/cfsamHKtNvziwyUawH4S1bdfuDursCBSr4/uT882XL85fDRYQzl3p/MueLelp9se7/YRCmDwL3GljJn7YzBgwZTlDEI3Ppk9h6yc1vqpx
BNZQoA3jtaUrwNAnXM8pQqANTl5Rjmurf1k+AHKFMA+CSco4PvTzKnrButocz7m4fh0xSJN+6yDGak9lSiAHA34dTcRPKth5bCWnslCgBG2kCdFDB8yiSd
wWx1Jd7/TDntefVVv35tHywVEXrYCwD7715+X3SqXNWhYfU2CzL29z/+xrNPHLndes6du/3xIDrmAsC0hDTj/MtHp03frjoyUAv7+6Oq+42OtBV/mdQTap
riMD26/sans/xcZm68rCXboZe9vzfmV4ig8vpiWobe09FxW9uWvxnGwFoACFp9PrgtJvaempWoKGCcDgHr+6P24U3eYa6fT50Mf+JavbQX1g6C4LlriSmS
q2c2CAZYRh3sS8PYQWB58aGqySx2ubxEmOL2YoQG1vdXDXev3jOZG75+kgE10sNjgh7GDh4HC1423YnZ6z/hUtPbjMMJZhh30B307ZXHS5CMLsVr9zUbur
cfxhHGAR91WZslcZ2g8vZArWd33DWx7eAO8EJ/y7hznLxNQyeYzpXZj9PH9v6rFDwrXPNsQ9Djppl5NPYVYawZBVMB+oA5fvPJqIDeCyY0qO+xAlv6qmHq
YDjYsDB6zUkVOVuP5rn7zJo6dI/N/v5EAe+FI+pDRAvit06Vj9nlwxiFTcBHUCB6kdCSN7307p0i+bM+wVGmmATcAQ43wo7qtZXKGvONdLcPF2fbYxLQCs
6a7z2xhHPIKuSIUWCtwP20KyYB+mB78JW3H0f5L47RkGenal1546uHRYA16H1z01zKAq8bKyoGPrz8eJVzqAkWAQSQn/su3LdXUAy5esHsOs1owQpbOgYB
Ww+CtsiFNTYLCxtMsh2SNye82u2sgUFAUyqoGMLbE5L/aHvhRh7IPhV5yVMHg4C8Q2CK9m7ykeb4XrPWKyZ2OOHpE4wwCHj6BrQteSxdfdwlQ5pVlvfs5e
lRC6xo6AXsNAa4F5WMGy3ek5OTmI+iWnL35jgw0As4hwctmy4+cHBNLteIChqW7b9G/eQwbfSHYP/loP0eXpzPN/Bm+1KPTSWLRY9GGpJRC3gZDp6ouzlP
veG5+Ln2rPFPbG2MzcLM0At4sxZ82K/VuNrfuarmZLzb8LPSmpnLu3to8nP+b8DY1pb0c/aBr+5MHTInqmbv1jPbunto8vPzz8nAmZVKcV5dO/FOW9G7lJ
n1OaZSTz3UAjzPgDLP7PX1pgHPW+/eupW1wf/whpaxxmhfn6lofLgJFC9xQBVPlH88NWhzhE2HjUOklRoeZQGgIwGYj7Zwje5JbDUYpnLycejSuph0B9Qr
xCh6A6K3vcbtlbINtKZw3pjRB+dKC4Zqo12hofRe4IrD8nctQ3QlRerkQFP7AYtt63wM0a7Qiva74EvNxtfv2/QqSXze3TfV8Smbv04xo6EUcC3CEIRvuH
15UHTlPdUbhMIdbbQSi8ELe6OdIF7gQRAx0HG6/bPUDTNwQ0+7nG4xLEvIGoB2guT5S4D9a8ZY3vFNoQ+vP2RIerofSVAcGoF2gsaOnQuq1KLiacbjz/cf
8enoSJtXKwJsGv2NqOhW6G1IFJhpdGj35wQto+fUmPw7jzWyuGtw0y1QTtDGk2HAdI76yXWaqg273lg9TI4ouBuqPWRRHw10AnzGugGNpA5D9x5c09Ksys
VDi8TJBfsSVg/SJqESQBxw/wAYutd+ePZtxhLfN5N61M6M7RkkLWLpo5sghZd3K/irYBu7w4Y++2VyGkO6vay0Z6+mUSboJmhNTvBJsG9zEqUxMdlowLRW
p/yY6K1f0/Dh1ugmKIys1QROnh0WkO93o9eluXkrol6mluC/uCT000QlcMje8e6g2sKo/nlrYuvyxPgOOz16j76CuDWuOqgmSHeO+RXweelFx/atomvrzX
rl3WulliTanjvmaUhFI6AlYEYGCL604cnjwc8ueO+mzt+yVrjv823NK2NM6Wj4ptEGXEDdtmRsMFNz4vCbFhETP656c+DIfNUZNqiuYn/Nd2oHWotiL1GG
zm3XyxnLN3Owzl21vXnAkv5aaCZo3549q0BWvajXlsK4PrEiwZl3rmM2HCqcHrVmiC4agWvfRH8Eq2vXmDRY7FjQItxGvNTLnEC/03K0iNMTjcCUkXzbOj
BVxXPIu9601/RBPUsfr2s+NGTr14YgMzUUAmLO3aYnArvwPipOtDdLfPfNPrX+1MBN56dM+DzDloFigmYMTdgQCc4KbuHGbFn06WJ+yTmnVYTLCwaV9lni
2AOFwImykaV8sCdU9fzX6WbEkR9ey85YTJw1oe/g6blD9Si4bhMICBm76Dj48LjifvOzqD4L4kCD8yLXoHiP83mHuUYoVpCLyy5+BUr7nlcplN37/OzVxe
v5aw7k1y+Z8PRCkDkKgcOPvJ1jBjQ/nNMyyaLRZzj4XMMvOzEh6ip5WGt4bw1itwIGz1iWOwy0H99d6m1/3qXJJ0933ODgpSOn1W41X+zYo/sJcrS0t3AC
wqScu/m37IqEBUEWW6WHtBN0C6lBq6DAbgXYP/mo9R5cWLhxfu3I21QjokfrxX57rVo79qVl7+egEGhd/HBiLLipGJqFs5xb62jOXvZ6XuAJua64xyXFGB
QCzVNfvNvHBFm32HMYUTkzT/Tf3Zp1tPZ9xNdjpi/CUAg0mUS7wl8Mzm32iCuPvz9l0dWJN0SV81d8DJ65SDfOUbtbgX/8/F9jPuGPeEK2Oe5P+PX6odQ/
4VnXLxj+QQIgUTfchfQH/Mg8s5kaf/D+Q+TUsddE+RaA4cdefFLqye13vmnRqLAAhtIGgU7vy7cWGShdAGg7GRmx34as9PsXgTEd/3iImrIFgE9Jt645jt
ZW9gUS8G2svZ22wJik7PubsM9n3z/c0JuqLM9r2akbIHVlKPv/XzrOLfEQd/hifvD5gz+ZsWh/nEu4sZIdBOOd55i6LU2yoSnXQXDluPcWhiJ/gJICgCtd
y+CFURVLm6hUAWCpa9nq+ri2IEPlBICaWUsdHn+1i7SgKvf+yjTR9qLGlumpfdWVEgDGxpyKdGftyHfVUkoASPDq92nhu3sVXH2lVgBkgfTEgv32z8abKC
UA7Dl4mfRmaaZOpDVdqf+/VDnWbH1gJJ2V0l9DmRUA9x6P0j8alhu3Bf3v/P/g34dGCNSmmRee4hlSlHl/9kkW/iAs9OTjq+NMaXhl9t+Q2/fYzNE2nyNs
1ZUQ8BQsduL3zNZdabm0v6YSE1QHqmjVK87d/zwyd6guGbuAEmBTA649P7Vw6QH4Cwd2Pg8ELza1M1j9qlA2xoyOx1xAFhAx7CPZ0fOaH4TaMrALXA4Orb
PeM2/MJxNiDPyNDTMfDe7Z2L0qnrBvqZ3AVQmB08HBPT3t3odMuR2wlYXqN7Z/PX8Bj/TbxvWN0OUuLvY3pWMW4Asi4sQxIQsuFe+unWLDwDxBLLCqIiFJ
uGSNdcPTyH5aJKwC3ECxmXXqEWFIvhpl6SBdzCvoDBpjm3IeHuS4Teud7W6IWaADeHt+8UrNGofrp33zvXupYRXY+z3ooC12fGq4XHfBqbFWmAVa3gCrMo
M4qkSr+I0XQ+0xCzSVAtlnU3/ttxduiJ/NH6BDwSjAqAh0zGoOsL7P924hJQ01wCrQIA/cado3mfss8BLTKpdtgnUCdXOAhff0idPfmoXkeO7xt2AQsQnQ
TgY++Wq+Ma3v396feWZib6wCNWPBvDcFjss/yNOHZFyc6YBVICMCrJ7lTFresrXXmiNPYgfrYxSoPhUUFRTXx72OOfvuGo7vboRRID0I1LUxC5Z9CY2da2
Kyhmemjk0gzRc8efDXvMXk0f1fzBi6Z5S1JjaBVPZXkODSZw7d49W8oxNPT+mjTcYkgDzsCdi//dpoisPhVrCkLsJJD5tA8uAGcLk9weGrwbwVgVsfxA3p
iU0gyakcfJ2h/uWFihNtV9nnVI9e2AQS+xwB9uX7rjxupxzS6NBd422hgUkgwTYP+EcN23fn3f3xKW6Ou8fY9sAkkGC5GsyTVsyre1xKaE/yKwnup4NJIN
40FWTf8bQ/fnVz8QLZ7KrZzgY0LALxxovBgZLj11ZXxIa90hTejnczUsMiEGc4F0iNbZeF7ffTjZqyv4XPMmOQcOgTwOmFgdvTV5m6ru136eOJJnqur5Um
FoE4nUmgNb9NopGqv21trx5W+UF22liOAFyPUa3gcvqUm3O/RgzICHQvDu6vh0WgqqbPXdBx7+mOgPsDL7WvniidPciQjkGgKoN9AZgejJ5gL/kSO6cx7m
rcMBM4wagTUFUf/hdgvn5E+rJDpn/LcM2LFLa5BhkDT3c5AkKGTT1YuSjn3NjQ46o5fjY9MAhUpQ3IA8uEVybvDIladF/83GB7UB8dKgaB1H5rwMaLwSoL
WNyBsVZWjoeDHfVpBPQCKXYCcMxEsXWIqekbsijEuzRicE81DALJ1ktB1dSZDu0fWgq3vt0aVh87vBeWCSaZLwDNm6Qlh2Sy2QMm30i8n+RpgWWCib1mgd
ZL+10m5qy1qpQbb2nL8rPFMsFEo5APAMw+SQ2OfB7NipKqbQ7qo4thggkG4x8AszOsU/25p0zkso8W+6c6GWCYYIJeQANw73U6uN04rcbfsv+Q07NcjNTR
C8TreEnA5JleHadfBS6/mjJrVOXC4aYa6AXie7COg/gDRdkxZwz6hT3YOefGck9LLfQC8ZrD9oKcF8FG1sm3br7m3Up9KfK11UY/wTiGy2awv2/ZtovsnV
mJh43zVNeP6atHQy0Qpz4gG5TOuuSQ1iMmwMxuXr3u7ilOhugnGKfmwAeXd1QfG3CdrVmxV4q3PzbDxZhBQitAlWa/GDxtnOzetI1RP9vGZDBTPA9LA1Sp
NvPAZ9Lp4riJV1YxChZFjb+0hG3Zg4JWoCrFYuZbYKvmRWNs8iu2a9g1736ajy08QnBoedPgZsAOLFp/djxpwiHHm8LW1aP76tFRCvwf0x5CuA==
"""
