// The calls of the demo, in its words. Room-internal.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "gateway/cli/dev_files.h"
#include "gateway/dev/leftovers.h"
#include "tollgate/v1/audit.pb.h"
#include "tollgate/v1/inference.pb.h"
#include "tollgate/v1/usage.pb.h"

namespace tollgate::dev {

// How one streamed request went.
struct Answer {
  std::string text;
  int pieces = 0;          // Messages that held text.
  v1::ChatEnd end;         // If it was answered.
  std::string request_id;  // A UUID.
  std::string record;      // LOG/INDEX of its last record.
  bool refused = false;
  std::string code;    // gRPC's name of the refusal: "PERMISSION_DENIED".
  std::string reason;  // ErrorInfo's: "POLICY_BLOCKED".
  std::string message;
};

class DemoClient {
 public:
  // UNAVAILABLE if `tollgate dev` does not answer.
  static absl::StatusOr<std::unique_ptr<DemoClient>> Connect(const cli::DevEndpoints& endpoints, std::vector<cli::DevKey> keys);
  ~DemoClient();

  // Asks as the application with this key ("web", "batch", "trial"); `on_text` sees the text as it comes. An error is a lost connection
  // only: a refusal is an answer.
  absl::StatusOr<Answer> Ask(const std::string& key, v1::ChatRequest request, const std::function<void(const std::string&)>& on_text);

  // As the owner.
  absl::StatusOr<v1::ShowRecordReply> Story(const std::string& request_id, bool with_content);
  absl::StatusOr<v1::VerifyLogReply> Verify();
  absl::StatusOr<v1::UsageReportReply> BillByTeam();
  absl::StatusOr<v1::ReconcileReply> Reconcile();
  absl::StatusOr<CompanyNow> Look();  // At the company as it stands.

  const std::string& model() const;

 private:
  struct Impl;
  explicit DemoClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tollgate::dev
