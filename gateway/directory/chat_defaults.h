// What an org, team or project sets for its chats: a system prompt, values for what requests leave out, caps (defaults.proto). Pure.
#pragma once

#include <cstdint>
#include <string>

#include "base/crypto.h"
#include "base/status.h"
#include "gateway/directory/rows.h"
#include "tollgate/v1/defaults.pb.h"

namespace tollgate::directory {

namespace v1 = tollgate::v1;

// The defaults of one scope, in force.
struct ChatDefaults {
  std::string scope_kind;  // "org", "team", "project"
  std::string scope_name;
  std::int64_t version = 0;
  base::Digest sha256{};  // RowDigest of its row.
  v1::ChatDefaults settings;
};

// INVALID_ARGUMENT names the field and its bounds; also for settings that set nothing. With numbers rounded to the millionth, as rows hold
// them, so that what is shown, stored and used are one.
absl::StatusOr<v1::ChatDefaults> Checked(const v1::ChatDefaults& settings);

// REQUIRES: of Table::kChatDefaults. ToRow sets the columns of the settings and no other; `settings` as Checked gives them.
v1::ChatDefaults SettingsOf(const Row& row);
void ToRow(const v1::ChatDefaults& settings, Row& row);

// What is set, for people, without the prompt's text: "system prompt of 120 bytes, temperature 0.2, at most 512 tokens of output, …".
std::string Words(const v1::ChatDefaults& settings);

}  // namespace tollgate::directory
