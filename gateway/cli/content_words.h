// What of a record is sealed, in words, for who reads it with a reason: all of it but tokens and log-probabilities, which are counted.
// Pure.
#pragma once

#include <string>

#include "tollgate/v1/audit.pb.h"

namespace tollgate::cli {

// Lines, each indented by four spaces, text from outside behind a bar; empty where nothing was opened.
std::string ContentText(const v1::StoredRecord& stored);

}  // namespace tollgate::cli
