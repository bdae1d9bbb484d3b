// The record comes first, in a journal of its own that needs no keys, for one with keys is refused for those that are lost. The keys
// database is met as its owner, without a role: who serves accepts nothing.
// Tested by tests/gateway/admin/lost_keys_test.cpp.
#include "gateway/migrate/lost_keys.h"

#include "gateway/migrate/on_record.h"

namespace tollgate::migrate {

absl::Status GoOnWithoutKeys(const audit::RootKey& root, const LostKeysOptions& options) {
  TG_RETURN_IF_ERROR(CheckReason("lost keys", options.reason));
  audit::LostKeys lost;
  lost.main.url = options.postgres_url;
  lost.main.role = "tollgate_writer";
  lost.keys.url = options.keys_url;
  lost.reason = options.reason;
  lost.record = [&options] {
    return PutOnRecord({.postgres_url = options.postgres_url,
                        .state_dir = options.state_dir,
                        .build = options.build,
                        .actor = options.actor,
                        .action = "keys.lost",
                        .summary = "content keys are lost, contents from before cannot be read any more: " + options.reason});
  };
  return base::Annotate(audit::AcceptLostKeys(root, lost), "the keys database");
}

}  // namespace tollgate::migrate
