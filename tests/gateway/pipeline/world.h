// A small company in memory with everything the pipeline works with, and a caller: tests of the pipeline say what they change about it.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>
#include <future>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "audit/keys.h"
#include "audit/seal.h"
#include "gateway/directory/models.h"
#include "gateway/directory/rows.h"
#include "gateway/identity/identity.h"
#include "gateway/pipeline/pipeline.h"
#include "gateway/pipeline/questions.h"
#include "inference/pool.h"
#include "metering/quotas.h"
#include "tests/support/fake_directory.h"
#include "tests/support/fake_gates.h"
#include "tests/support/fake_journal.h"
#include "tests/support/fake_leases.h"
#include "tests/support/reason.h"
#include "tests/support/temp_dir.h"
#include "tollgate/v1/defaults.pb.h"

namespace tollgate::test {

// What a client on a stream got.
class RecordingWriter : public pipeline::StreamWriter {
 public:
  async::Awaitable<absl::Status> Begin(const pipeline::ReplyHead& head) override;
  async::Awaitable<absl::Status> Write(pipeline::OutputPiece piece) override;
  void Abort() override;

  std::string text;  // Of the first reply.
  pipeline::Logprobs logprobs;
  std::string thought;
  std::vector<tollgate::v1::ToolCall> calls;
  std::map<int, std::string> others;  // Texts of the other replies.
  int begins = 0, writes = 0;
  int fail_from_write = 1 << 30;            // The client is gone from this write on (0 = the first).
  std::function<void(int write)> on_write;  // After each.
  int stuck_in_write = 1 << 30;             // The client takes no more from this one on: it waits, until it is broken off.

 private:
  std::function<void(bool)> waiting_;
};

class World {
 public:
  using Cancel = std::shared_ptr<pipeline::Cancellation>;
  // `policy_yaml` empty: no policy. Model "script" costs 1 nano-unit per input and 2 per output token.
  explicit World(const std::string& policy_yaml = "");
  ~World();

  // Adds a limit of the team and puts it in force.
  void SetQuota(const std::string& meter, const std::string& window, std::int64_t amount);
  // Puts another version of the policy in force.
  void SetPolicy(const std::string& policy_yaml);
  // Puts another version of the policy on trial: "shadow", or "canary" with a share.
  void Try(const std::string& policy_yaml, const std::string& mode, std::int64_t share_per_10000 = 0);
  // Chat defaults of the "org", "team", "project" or "key".
  void SetDefaults(const std::string& scope_kind, const tollgate::v1::ChatDefaults& settings);
  void RevokeKey();
  void BlockTeam();
  void StopModel();
  void GrantOnly(const std::string& model);
  // Loads another model of the scripted engine; at the same price as "script" unless it shall have none.
  void LoadModel(const std::string& name, int slots = 2, int queue_max = 8, bool priced = true, std::int64_t context_tokens = 4096);
  void LoadEmbedder(const std::string& name, inference::Pooling pooling = inference::Pooling::kMean, std::int64_t context_tokens = 4096);
  void LoadStrict(const std::string& name);  // Another scripted one, which gives strict answers too.
  void SetRoles(const std::string& roles);   // Of the caller's key: "member,evidence".
  void LoadAdapter(const std::string& name, bool restricted = true, const std::string& matrices = "matrices");  // "script:NAME", or anew.
  // Puts a model into the registry, or changes what the registry says of it; loads and unloads nothing.
  void Register(const directory::Model& model);
  void Price(const std::string& name, std::int64_t input_nanos = 1000);  // As "script", but for 1,000 prompt tokens that are not cached.
  std::string AddTeam(const std::string& name);                          // Beside the caller's; the text of a key of its project.
  void SetAlias(const std::string& name, const std::string& targets, const std::string& fallbacks);  // "qwen3=90 qwen4=10", "smollm2 tiny".
  bool Full(const std::string& model) const;                                                         // Its queue.
  pipeline::Caller NewCaller() const;
  tollgate::v1::ChatRequest Ask(const std::string& user_text, const std::string& model = "script") const;

  // Runs a call to its end.
  pipeline::Outcome<pipeline::Reply> Chat(const tollgate::v1::ChatRequest& request, pipeline::StreamWriter* writer = nullptr);
  pipeline::Outcome<pipeline::Reply> ChatAs(const pipeline::Caller& caller, const tollgate::v1::ChatRequest& request,
                                            pipeline::StreamWriter* writer = nullptr, Cancel cancellation = nullptr);
  pipeline::Outcome<pipeline::EmbedAnswer> Embed(const tollgate::v1::EmbedRequest& request, Cancel cancellation = nullptr);
  pipeline::Outcome<pipeline::RerankAnswer> Rerank(const tollgate::v1::RerankRequest& request, Cancel cancellation = nullptr);
  absl::StatusOr<tollgate::v1::CountTokensReply> CountAs(const pipeline::Caller& caller, const tollgate::v1::CountTokensRequest& request);
  absl::StatusOr<tollgate::v1::CountTokensReply> Count(const pipeline::Caller& caller, const std::string& model);
  tollgate::v1::ListModelsReply List();
  // Starts a call.
  std::future<pipeline::Outcome<pipeline::Reply>> Start(const tollgate::v1::ChatRequest& request, pipeline::StreamWriter* to, Cancel stop);

  tollgate::v1::SealedContent Content(const audit::Entry& entry) const;  // What was sealed with an entry.
  std::string Kinds() const;                                             // The journal's in order: "REQUEST SEGMENT FINAL".
  void CheckBooks() const;  // P3 and P4 hold for everything on record, and nothing is held any more.

  audit::Keys& keys() { return *keys_; }
  inference::Pool& pool() { return *pool_; }
  std::string key_text;
  base::ManualClock clock;
  FakeGates gates{clock};
  FakeLeaseStore lease_store;
  FakeLeases leases{lease_store, clock, {base::InstanceId::New(), 1}};
  FakeJournal journal;
  FakeDirectory directory;
  pipeline::PipelineOptions options;
  pipeline::Answerers* answerers = nullptr;  // Before the first call, as
  pipeline::Breakers* breakers = nullptr;    // this.
  std::set<std::string, std::less<>> configured_models;
  boost::asio::any_io_executor cpu;         // Before the first call: another than its own for work that is large.
  inference::Pool* pool_between = nullptr;  // Before the first call: one that stands before pool().
  pipeline::Pipeline& pipe();               // Built over what is there by the first Chat.

 private:
  static const std::string kPepper;
  void Add(directory::Row row);
  directory::Row First(directory::Table table) const;
  std::int64_t StorePolicy(const std::string& policy_yaml);  // Its version.
  void Publish();
  TempDir adapters_;
  std::vector<directory::Row> rows_;
  std::int64_t version_ = 0;
  base::Uuid org_, team_, project_, key_;
  std::unique_ptr<audit::Keys> keys_;
  std::unique_ptr<metering::Quotas> quotas_;
  std::unique_ptr<identity::Identity> identity_;
  std::unique_ptr<inference::Pool> pool_;
  boost::asio::io_context io_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{io_.get_executor()};
  boost::asio::thread_pool cpu_{1};
  std::unique_ptr<pipeline::Pipeline> pipeline_;
  std::thread thread_;
};

const pipeline::Reply& ReplyOf(const pipeline::Outcome<pipeline::Reply>& outcome);  // Fails the test where it is a failure.
std::string ReasonOf(const pipeline::Outcome<pipeline::Reply>& outcome);            // Of a refusal; "answered" where it is none.
std::string HousePolicy(const std::string& rules);                                  // The policy `house` of these lines of YAML.
std::string CodeAndFish(const std::string& direction);  // A policy that redacts codes, ZQ~AB~12, and blocks swordfish.

}  // namespace tollgate::test
