// Passes over a whole vocabulary: what a sampler does for each token it chooses, 128,256 numbers or so. Each is compiled for several
// generations of processors, and the widest that this one knows is taken. All give the same result to the bit.
#pragma once

#include <cstddef>
#include <span>

namespace tollgate::inference {

constexpr std::size_t kWeighBlock = 256;

// The greatest; -infinity for none; NaN where one of them is.
float Greatest(std::span<const float> values);

// Where `value` first stands; values.size() where it does not.
std::size_t FirstOf(std::span<const float> values, float value);

// weights[i] = e^((logits[i] - max) * scale), but 0 below `least`; sums[b] = the sum of the bth kWeighBlock of them. Relative error of a
// weight under 3e-7. NaN stays NaN. REQUIRES: no logit is greater than max; scale > 0; as many weights as logits, a sum for each block.
void Weigh(std::span<const float> logits, float max, float scale, float least, std::span<float> weights, std::span<double> sums);

}  // namespace tollgate::inference
