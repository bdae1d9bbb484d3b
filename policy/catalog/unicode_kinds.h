// The table of Unicode tricks. Rows are data; catalog.cpp compiles them. See docs/detectors.md for what each is.
#pragma once

#include <span>

#include "policy/validators.h"

namespace tollgate::policy {

struct UnicodeKind {
  const char* name;  // In `unicode:`; in capitals it is the placeholder's text.
  const char* regex;
  int cap = 0;  // Bytes, for runs of any length.
  Validator accept = nullptr;
};

std::span<const UnicodeKind> UnicodeKinds();

}  // namespace tollgate::policy
