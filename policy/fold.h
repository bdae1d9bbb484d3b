// Letters: Unicode's simple case folding, from ICU's tables, and what counts as part of a word.
//
// Folding keeps offsets, so a letter is folded where its other case takes as many bytes in UTF-8, as nearly all do. Plain forms
// (plain_form.h) bring the others together: ẞ and ß, ſ and s, the Kelvin sign and k, and the Turkish İ and ı with i. All functions are
// pure; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace tollgate::policy {

// What all cases of a letter share that take as many bytes as it, most often its lower case; other code points as they are.
char32_t FoldCodePoint(char32_t c);

// Folds whole code points of valid UTF-8; same length, same offsets.
std::string FoldCase(std::string_view text);
// The same without a copy where ASCII case does not matter: `text` itself if beyond ASCII nothing in it is folded, else what `storage`
// then holds.
std::string_view FoldedView(std::string_view text, std::string& storage);

// Every letter that folds to another one, ascending, also where the two take different numbers of bytes.
struct CasePair {
  char32_t letter, folded;
};
const std::vector<CasePair>& CasePairs();

int Utf8Length(char32_t c);

// The code point that begins at `at`, and its length in bytes. Invalid or cut bytes count as themselves, one byte long.
char32_t DecodeAt(std::string_view text, std::size_t at, std::size_t& length);
char32_t DecodeBefore(std::string_view text, std::size_t end);  // The one that ends at `end`; 0 if end is 0.
void AppendUtf8(char32_t c, std::string& out);

// Letters and digits. '_' parts words, as in snake_case and _emphasis_. Scripts that put no spaces between words (Han, kana, Thai …) do not
// count: a keyword beside them stands free.
bool IsWordCodePoint(char32_t c);

}  // namespace tollgate::policy
