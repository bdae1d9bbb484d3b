// What a failure inside libpqxx means for us. Internal to base/postgres*.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace tollgate::base {

// A statement that the server refused, by SQLSTATE. `text` is the server's message, terse or verbose; only parts that cannot hold
// parameters are kept.
absl::Status SqlError(std::string_view purpose, std::string_view sqlstate, std::string_view text);

// A connection that could not be made; `text` is libpq's message, which names hosts and sockets and is therefore only classified.
absl::Status ConnectError(std::string_view text);

// A connection that broke. `in_doubt`: the server may have committed what was sent.
absl::Status BrokenError(std::string_view purpose, bool in_doubt);

// Whether a warning of the server, in libpq's verbose form, is that of a cancelled wait for a standby: the commit may be on this server
// alone.
bool MayLeaveInDoubt(std::string_view warning);

// Whether a lost connection during this statement, sent by itself, leaves nothing in doubt: it only reads.
bool OnlyReads(std::string_view sql);

}  // namespace tollgate::base
