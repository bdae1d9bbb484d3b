// What answers under a model's name, to the byte: its weights' digest, and of each adapter name, digest and scale. Whoever puts a model on
// record hands it on with the request, and the pool refuses where another has the name by then. Opaque; the same for the same.
#pragma once

#include <string>

#include "inference/types.h"

namespace tollgate::inference {

std::string FingerprintOf(const ModelInfo& model);

}  // namespace tollgate::inference
