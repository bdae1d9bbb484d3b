// Books: whether what is stored adds up, read from the tables themselves, and from the stored messages rather than the product's own
// reports.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/e2e/support/admin.h"
#include "tests/e2e/support/ask.h"
#include "tests/e2e/support/installation.h"

namespace tollgate::e2e {

// One request as it is stored, with its content opened.
struct Story {
  std::string prompt;       // The last message of the prompt as it came.
  std::string prompt_used;  // … and as it was used, where that differs.
  std::string text;         // Segments, and the text of the end.
  std::vector<std::string> kinds;
  std::vector<v1::RawSpan> raw;  // Of the reply: what did not go out as it was.
  v1::EndBody end;
  v1::Record request;
};

class Books {
 public:
  explicit Books(const Installation& installation);

  // Every log dense; every REQUEST with exactly one terminal record behind it and its segments between, without gaps; a DENY alone; usage
  // and ledger equal to the terminal records, to the token and the nano-unit. Empty, or the first thing that is wrong.
  // `open` requests may lack their terminal record: for a look while requests run.
  std::string Check(int open = 0);

  // That every quota is debited, in every window, with just what the usage rows say was used of it: nothing is reserved any more. For when
  // no instance runs.
  std::string CheckBalances();

  std::int64_t Count(const std::string& sql);
  std::int64_t Requests();             // REQUEST records.
  std::int64_t Open();                 // REQUEST records without a terminal one.
  std::int64_t TokensUsed();           // By usage rows, input and output.
  std::vector<std::string> Reasons();  // EndBody.reason of the FINALs and ABORTs, in the order of the log.

 private:
  std::unique_ptr<base::Session> sql_;
};

// Through the admin API, with a reason, as an auditor would.
Story StoryOf(Admin& owner, const std::string& request_id);

// What clients were told is on record: a whole answer is a FINAL with just that text, a broken stream a beginning of what is on record.
// Looks into at most `stories` of them. Empty, or the first that is not so.
std::string CheckAcknowledged(Admin& owner, Books& books, const std::vector<Answer>& answers, int stories = 30);

// `tollgate usage reconcile`, by the command line. Empty if there is no difference.
std::string Reconcile(const Gateway& gateway, const std::string& owner_key);

}  // namespace tollgate::e2e
