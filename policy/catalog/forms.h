// What the forms of all rows have in common, worked into their trees. Inside policy/ only; pure.
#pragma once

#include "policy/pattern.h"

namespace tollgate::policy {

// A word's edge (\b) becomes one of letters and digits, where '_' may stand as well: _ghp_…_ holds a token, card_4111… a card.
void MakeWordEdges(PatternSpec& spec);

// Between groups of which one ends in digits, a blank becomes up to two, tabs and line ends among them: so texts are laid out and wrapped.
// For what check digits hold together. Not behind letters: the code of a country at a line's end is none of the next line's number.
void WidenGaps(RegexNode& node);

}  // namespace tollgate::policy
