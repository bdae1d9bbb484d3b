// What an org, team, project or key sets for its chats: a system prompt, values for what requests leave out, caps, and their standing in
// queues (defaults.proto). Pure.
#pragma once

#include <cstdint>
#include <string>

#include "base/crypto.h"
#include "base/status.h"
#include "gateway/directory/rows.h"
#include "tollgate/v1/defaults.pb.h"

namespace tollgate::directory {

namespace v1 = tollgate::v1;

// The pool's bands: from 0, the most urgent, to the last. Where nothing is set, requests wait in the ordinary one with the ordinary weight.
constexpr int kBandLast = 3;
constexpr int kBandOrdinary = 1;
constexpr double kWeightOrdinary = 1;

// The defaults of one scope, in force.
struct ChatDefaults {
  std::string scope_kind;  // "org", "team", "project", "key"
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
