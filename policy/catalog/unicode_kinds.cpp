// Source: The Unicode Standard 15 (code charts, default ignorable code points) and Unicode TS 39. Soft hyphens and marks of direction
// beside right-to-left letters are no tricks: pages on the web are full of them. No more are controls that have a use: white space, ESC
// before a terminal's colours, and 0x80 to 0x9F, among which Windows-1252 has its quotation marks.
//
// Tested by tests/policy/unicode_test.cpp.
#include "policy/catalog/unicode_kinds.h"

namespace tollgate::policy {
namespace {

constexpr int kRunBytes = 256;

constexpr UnicodeKind kKinds[] = {
    {"invisible",
     "[\\x{0}-\\x{8}\\x{E}-\\x{1A}\\x{1C}-\\x{1F}\\x{7F}\\x{34F}\\x{61C}\\x{115F}\\x{1160}\\x{17B4}\\x{17B5}\\x{180B}-\\x{180F}"
     "\\x{200B}-\\x{200F}\\x{2060}-\\x{2065}\\x{206A}-\\x{206F}\\x{2800}\\x{3164}\\x{FDD0}-\\x{FDEF}\\x{FE00}-\\x{FE0F}\\x{FEFF}\\x{FFA0}"
     "\\x{FFF9}-\\x{FFFB}\\x{FFFE}\\x{FFFF}\\x{1BCA0}-\\x{1BCA3}\\x{1D173}-\\x{1D17A}\\x{E0100}-\\x{E01EF}"
     "\\x{1FFFE}\\x{1FFFF}\\x{2FFFE}\\x{2FFFF}\\x{3FFFE}\\x{3FFFF}\\x{4FFFE}\\x{4FFFF}\\x{5FFFE}\\x{5FFFF}"
     "\\x{6FFFE}\\x{6FFFF}\\x{7FFFE}\\x{7FFFF}\\x{8FFFE}\\x{8FFFF}\\x{9FFFE}\\x{9FFFF}\\x{AFFFE}\\x{AFFFF}"
     "\\x{BFFFE}\\x{BFFFF}\\x{CFFFE}\\x{CFFFF}\\x{DFFFE}\\x{DFFFF}\\x{EFFFE}\\x{EFFFF}\\x{FFFFE}\\x{FFFFF}\\x{10FFFE}\\x{10FFFF}]+",
     kRunBytes, AcceptInvisible},
    {"bidi", "[\\x{202A}-\\x{202E}\\x{2066}-\\x{2069}]+", kRunBytes},
    {"tags", "[\\x{E0000}-\\x{E007F}]+", kRunBytes, AcceptTags},
    {"homoglyph",
     "[A-Za-z\\x{C0}-\\x{24F}]{0,48}[\\x{370}-\\x{58F}\\x{13A0}-\\x{13FF}\\x{2C80}-\\x{2CFF}\\x{A4D0}-\\x{A4FF}]"
     "[A-Za-z\\x{C0}-\\x{24F}\\x{370}-\\x{58F}\\x{13A0}-\\x{13FF}\\x{2C80}-\\x{2CFF}\\x{A4D0}-\\x{A4FF}]{0,48}",
     0, AcceptHomoglyph},
    {"full_width", "[\\x{FF10}-\\x{FF19}\\x{FF20}-\\x{FF3A}\\x{FF41}-\\x{FF5A}]+", kRunBytes},
    {"styled", "[\\x{24B6}-\\x{24E9}\\x{1D400}-\\x{1D7FF}\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{1F169}\\x{1F170}-\\x{1F189}]+", kRunBytes},
};

}  // namespace

std::span<const UnicodeKind> UnicodeKinds() { return kKinds; }

}  // namespace tollgate::policy
