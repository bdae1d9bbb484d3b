// A record in words, for people. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tollgate/v1/audit.pb.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::cli {

std::string KindWord(v1::RecordKind kind);  // "request", "deny", "final" …
std::optional<v1::RecordKind> KindOf(std::string_view word);
std::vector<std::string> KindWords();
std::string RoleWord(v1::Role role);                           // "user", "system" …
std::string ShowPosition(const v1::RecordPosition& position);  // "1/42"
std::string ShowPlace(const v1::StoredRecord& stored);         // "acme/search/web"

// One line: "smollm2, 31 tokens in, redact by no-cards".
std::string Summary(const v1::Record& record);

// Lines, each indented by four spaces.
std::string Details(const v1::Record& record);

// Hostile text, each line behind `lead`, so that it cannot pass for the program's own.
std::string Indented(const std::string& text, const std::string& lead);

}  // namespace tollgate::cli
