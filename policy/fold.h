// Letters: simple case folding and what counts as part of a word, without a Unicode library.
//
// Covers Latin, Greek, Cyrillic and Armenian as far as U+0586: every letter there and its other case take the same number of bytes in
// UTF-8, so folding keeps offsets. All functions are pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tollgate::policy {

// The lower-case form that all cases of a letter share; other code points as they are.
char32_t FoldCodePoint(char32_t c);

// Folds whole code points of valid UTF-8; same length, same offsets.
std::string FoldCase(std::string_view text);
// The same without a copy where ASCII case does not matter: `text` itself if it has no letter beyond ASCII that could have another case,
// else what `storage` then holds.
std::string_view FoldedView(std::string_view text, std::string& storage);

// The code point that begins at `at`, and its length in bytes. Invalid or cut bytes count as themselves, one byte long.
char32_t DecodeAt(std::string_view text, std::size_t at, std::size_t& length);
char32_t DecodeBefore(std::string_view text, std::size_t end);  // The one that ends at `end`; 0 if end is 0.
void AppendUtf8(char32_t c, std::string& out);

// Letters and digits. '_' parts words, as in snake_case and _emphasis_. Scripts that put no spaces between words (Han, kana, Thai …) do not
// count: a keyword beside them stands free.
bool IsWordCodePoint(char32_t c);

}  // namespace tollgate::policy
