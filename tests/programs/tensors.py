"""PyTorch tensors of several types, through the OPU and as a layer of a network."""

import numpy as np
import torch
from lightonml import OPU
from lightonml.projections.torch import OPUMap

torch.manual_seed(0)
bits = torch.randint(0, 2, (32, 256))
as_bool, as_bytes = bits.bool(), bits.type(torch.ByteTensor)

with OPU(n_components=600) as opu:
    opu.fit1d(as_bytes)
    from_bytes = opu.transform(as_bytes)
    from_bool = opu.transform(as_bool)
    alone = opu.transform(as_bool[7])
    array = opu.transform(bits.numpy().astype("uint8"))
for y in (from_bytes, from_bool):
    assert torch.is_tensor(y) and y.dtype == torch.uint8 and y.shape == (32, 600)
assert torch.is_tensor(alone) and alone.shape == (600,)
assert isinstance(array, np.ndarray) and array.context.n_ones > 0


def correlation(a, b):
    return np.corrcoef(np.ravel(np.asarray(a, dtype=float)), np.ravel(np.asarray(b, dtype=float)))[0, 1]


same = min(correlation(from_bytes, from_bool), correlation(from_bytes, array), correlation(alone, from_bool[7]))
assert same > 0.95, same

# A fixed layer before one that learns: its task is the parity of two bits, which no linear layer on the bits solves.
points = torch.randint(0, 2, (400, 2))
target = (points[:, 0] ^ points[:, 1]).float()
x = torch.cat([points.repeat(1, 20), torch.ones(400, 10, dtype=torch.int64)], dim=1).type(torch.ByteTensor)
optical = OPUMap(n_components=200)
features = optical(x).float()
assert features.shape == (400, 200) and not features.requires_grad
features = (features - features.mean(dim=0)) / (features.std(dim=0) + 1e-6)
head = torch.nn.Linear(200, 1)
optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
for _ in range(200):
    optimizer.zero_grad()
    loss = torch.nn.functional.binary_cross_entropy_with_logits(head(features)[:, 0], target)
    loss.backward()
    optimizer.step()
accuracy = ((head(features)[:, 0] > 0).float() == target).float().mean().item()
assert accuracy > 0.95, accuracy
optical.opu.close()

print(f"types agree with correlation {same:.3f}; parity learned with accuracy {accuracy:.2f}")
