// What explain tells of a tool's result that is read twice: spans of the second reading where they are written. Inside policy/ only; pure.
#pragma once

#include <string_view>

#include "policy/explain.h"

namespace tollgate::policy {

// Adds what an explanation of the second reading has and that of the text as it is written has not. `json`: the latter.
void AddReading(std::string_view json, Explanation read, Explanation& out);

}  // namespace tollgate::policy
