// Patterns and the two forms of a text: a letter with an accent is one character (NFC), or a letter and its accent (NFD). Inside policy/
// only.
#pragma once

#include "policy/regex_syntax.h"

namespace tollgate::policy {

// Finds what `node` finds, also where its letters stand in the other form. Not those of a class of more than 16 letters beyond ASCII. A
// match may be wider than one of `node`.
RegexNode InBothForms(const RegexNode& node);

}  // namespace tollgate::policy
