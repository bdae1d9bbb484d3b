// replay: recorded prompts and replies judged anew by the 20 rules of the other benchmarks, as `tollgate policy replay` does it: pages out
// of a real Postgres, keys out of another database of it, a durable VIEW record for each page, each leaf recomputed, each prompt opened,
// judged and compared. One thread, a page at a time: while Postgres works the judging waits, so a second of it is a second of one core.
// Prints
//   replay.prompts_per_s            prompts of 2 KB a second
//   replay.short.prompts_per_s      the same of 400 bytes
//   replay.cpu_us_per_prompt        processor time of a prompt of 2 KB, Postgres' share included
//   replay.prompts_per_cpu_s        so many prompts of 2 KB take a second of a core, also where others use the machine meanwhile
//   replay.replies_per_s            replies of 2 KB a second, each beside its prompt of 40 bytes; half of them streamed in four segments
#include <atomic>
#include <chrono>
#include <random>

#include "audit/journal_postgres.h"
#include "audit/keys.h"
#include "gateway/admin/replay.h"
#include "tests/bench/cpu.h"
#include "tests/bench/figures.h"
#include "tests/bench/rules.h"
#include "tests/support/postgres_cluster.h"
#include "tests/support/temp_dir.h"

namespace {

using namespace tollgate;
using Clock = std::chrono::steady_clock;

constexpr int kPrompts = 10'000;
constexpr int kRuns = 7;
constexpr int kPage = 1000;

template <typename T>
T Must(absl::StatusOr<T> value) {
  if (!value.ok()) bench::Fail(base::Message(value.status()));
  return *std::move(value);
}

// Words nobody has seen, and an address in every tenth prompt.
std::string Prompt(std::mt19937_64& random, std::size_t bytes) {
  std::string out;
  while (out.size() < bytes) {
    for (std::size_t n = 2 + random() % 9; n > 0; --n) out += static_cast<char>('a' + random() % 26);
    out += random() % 12 == 0 ? ". " : " ";
  }
  if (random() % 10 == 0) out += "write to ann" + std::to_string(random() % 1000) + "@example.com";
  return out;
}

class History {
 public:
  History() {
    test::PostgresCluster& cluster = test::PostgresCluster::Shared();
    const std::string url = cluster.NewDatabase({"migrations/main"});
    const std::string keys_url = cluster.NewDatabase({"migrations/keys"});
    audit::JournalOptions options;
    options.postgres_url = url;
    options.keys_url = keys_url;
    options.state_dir = dir_.File("state");
    options.adopt = false;
    options.build = "bench";
    journal_ = Must(audit::PostgresJournal::Open(options));
    audit::PostgresKeysOptions keys_options;
    keys_options.url = keys_url;
    keys_ = Must(audit::OpenPostgresKeys(audit::RootKey::FromBytes(std::string(32, 'r')), keys_options));
    base::SessionPool::Options pool;
    pool.postgres = cluster.Options(url);
    pool.postgres.role = "tollgate_reader";
    pool.sessions = 1;
    sessions_ = std::make_unique<base::SessionPool>(pool);
    reader_ = std::make_unique<audit::Reader>(*sessions_, keys_.get(), journal_.get());
    shard_.org = {base::OrgId::New(), "acme"};
    const policy::PolicySource source{"bench", bench::kTwentyRules};
    policies_ = Must(policy::PolicySet::Compile({&source, 1}));
  }

  // A team with prompts of that size on record, and replies of that one.
  directory::Team Fill(const std::string& name, std::size_t bytes, std::size_t reply_bytes = 0) {
    directory::Team team{base::TeamId::New(), shard_.org.id, name};
    std::mt19937_64 random(20261126);
    std::atomic<int> done{0};
    int begun = 0;
    const auto append = [&](audit::Entry entry) {
      journal_->Append(std::move(entry), audit::Journal::kNoDeadline, [&done](absl::StatusOr<audit::Position> at) {
        if (!at.ok()) bench::Fail(base::Message(at.status()));
        done += 1;
        done.notify_one();
      });
      ++begun;
      while (begun - done.load() > 2000) done.wait(done.load());
    };
    const auto all_done = [&] {
      for (int seen = done.load(); seen < begun; seen = done.load()) done.wait(seen);
    };
    std::vector<audit::Entry> segments, finals;  // Each goes on the log when what comes before it is there.
    for (int i = 0; i < kPrompts; ++i) {
      const auto request = base::RequestId::New();
      std::shared_ptr<const audit::RequestKey> key = KeyOf(team.id, request);
      v1::SealedContent content;
      content.add_prompt()->set_role(v1::ROLE_USER);
      content.mutable_prompt(0)->add_parts(Prompt(random, bytes));
      audit::Entry entry;
      entry.record.set_kind(v1::RECORD_KIND_REQUEST);
      entry.record.set_request_id(request.Bytes());
      entry.record.set_org_id(shard_.org.id.Bytes());
      entry.record.set_team_id(team.id.Bytes());
      entry.record.mutable_request()->set_model("model");
      entry.record.mutable_request()->set_policy_digest(std::string(32, 'p'));
      entry.record.mutable_request()->mutable_input_verdict()->set_action("allow");
      entry.content = audit::Seal(*key, {v1::RECORD_KIND_REQUEST, 0, 0}, content);
      entry.key = key->row();
      append(std::move(entry));
      if (reply_bytes == 0) continue;
      const std::string reply = Prompt(random, reply_bytes);
      const std::uint32_t pieces = i % 2 == 0 ? 1 : 5;  // The last one is the FINAL's.
      for (std::uint32_t n = 1; n <= pieces; ++n) {
        const std::size_t from = reply.size() * (n - 1) / pieces, to = reply.size() * n / pieces;
        (n == pieces ? finals : segments).push_back(Reply(*key, team.id, n == pieces ? 0 : n, reply.substr(from, to - from)));
      }
    }
    all_done();
    for (std::vector<audit::Entry>* next : {&segments, &finals}) {
      for (audit::Entry& entry : *next) append(std::move(entry));
      all_done();
    }
    return team;
  }

  // Prompts a second, over all of the team's; each with a reply, if there are any.
  double Run(const directory::Team& team, bool replies = false) {
    admin::HistoryPage page;
    page.viewer = {"bench", audit::Viewer::Sees::kOrg, shard_.org.id.value, {}};
    page.shard = &shard_;
    page.team = &team;
    page.filter.limit = kPage;
    explain::Tally tally(3);
    const auto began = Clock::now();
    do {
      page.filter.cursor = Must(admin::Replay(*reader_, page, {policies_.get(), nullptr, "bench"}, tally));
    } while (!page.filter.cursor.empty());
    const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
    const v1::PolicyChanges changes = tally.Changes();
    const bool all = changes.judged() - changes.replies() == kPrompts && changes.replies() == (replies ? kPrompts : 0);
    if (!all || changes.changed() < kPrompts / 20) bench::Fail("the replay did not judge what was recorded");
    return kPrompts / seconds;
  }

 private:
  // A SEGMENT; of number 0 the FINAL.
  audit::Entry Reply(const audit::RequestKey& key, base::TeamId team, std::uint32_t segment, const std::string& text) const {
    const v1::RecordKind kind = segment == 0 ? v1::RECORD_KIND_FINAL : v1::RECORD_KIND_SEGMENT;
    audit::Entry entry;
    entry.record.set_kind(kind);
    entry.record.set_request_id(key.request().Bytes());
    entry.record.set_segment(segment);
    entry.record.set_org_id(shard_.org.id.Bytes());
    entry.record.set_team_id(team.Bytes());
    if (segment > 0) {
      entry.record.mutable_segment_body()->set_size(static_cast<std::int64_t>(text.size()));
    } else {
      entry.record.mutable_end()->set_finish_reason(v1::FINISH_REASON_STOP);
      entry.record.mutable_end()->mutable_output_verdict()->set_action("allow");
    }
    v1::SealedContent content;
    content.set_text(text);
    entry.content = audit::Seal(key, {kind, 0, segment}, content);
    return entry;
  }

  std::shared_ptr<const audit::RequestKey> KeyOf(base::TeamId team, base::RequestId request) {
    return Must(audit::MakeKeyAndWait(*keys_, team, request, audit::Journal::kNoDeadline));
  }

  test::TempDir dir_;
  std::unique_ptr<audit::PostgresJournal> journal_;
  std::unique_ptr<audit::Keys> keys_;
  std::unique_ptr<base::SessionPool> sessions_;
  std::unique_ptr<audit::Reader> reader_;
  directory::Shard shard_;
  std::shared_ptr<const policy::PolicySet> policies_;
};

}  // namespace

int main() {
  History history;
  const directory::Team large = history.Fill("large", 2000), small = history.Fill("small", 400),
                        replies = history.Fill("replies", 40, 2000);
  history.Run(large);
  history.Run(small);
  history.Run(replies, true);
  std::vector<double> large_runs, small_runs, reply_runs, cpu, per_cpu_s;
  for (int i = 0; i < kRuns; ++i) {
    const bench::CpuSince since;
    large_runs.push_back(history.Run(large));
    const double cpu_s = bench::Total(since.Used());
    cpu.push_back(cpu_s * 1e6 / kPrompts);
    per_cpu_s.push_back(kPrompts / cpu_s);
    small_runs.push_back(history.Run(small));
    reply_runs.push_back(history.Run(replies, true));
  }
  bench::PrintMedian("replay.prompts_per_s", large_runs, "prompts/s", 0);
  bench::PrintMedian("replay.short.prompts_per_s", small_runs, "prompts/s", 0);
  bench::PrintMedian("replay.cpu_us_per_prompt", cpu, "us", 1);
  bench::PrintMedian("replay.prompts_per_cpu_s", per_cpu_s, "prompts/s", 0);
  bench::PrintMedian("replay.replies_per_s", reply_runs, "replies/s", 0);
  return 0;
}
