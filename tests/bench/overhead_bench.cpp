// overhead: what governance costs. The real program with the scripted engine and everything on (a key, 20 rules of which some act on every
// seventh request, audit commits, quotas on every scope, usage, ledger), under our own load generator, against the limit that this machine
// sets in the same run: 1 / (1/bare + 1/insert), where `bare` is a bare gRPC or Beast server that sends as many messages of the same sizes,
// and `insert` the bare group-committed INSERT of the same rows. Interleaved A B B A; medians.
//
// A stream is one of 64 tokens or a few more, all of which the engine has at once. Pieces go on record, and then out, one every segment_ms
// (100, as shipped): the first by itself, and the others together when it has left. What it costs that pieces leave one by one is a figure
// of its own: segment_ms 1, and an engine that takes 20 ms for each of 64 tokens.
//
//   overhead.{grpc,http}.{unary,stream}.{rps,p50_ms,p99_ms,p999_ms,limit_ratio}
//                                      closed loop of 256 clients
//   overhead.….cpu_us.{gateway,postgres,load,bare,insert}
//                                      processor time a request, by program; of a bare run, of all its programs
//   overhead.….cpu_ratio               the limit by processor time, which other load on the machine hardly moves
//   overhead.{grpc,http}.unary.added_p99_commits, ….stream.added_ttft_p99_commits
//                                      steady 500 requests/s: what the gateway adds to the p99, in p99s of one bare commit at that rate
//   overhead.{grpc,http}.stream.messages
//                                      of a stream; the program ends unless they, and the bare side's, are those of two pieces
//   overhead.{grpc,http}.paced.messages
//                                      of a stream whose 64 pieces leave one by one; the program ends unless they do, on either side
//   overhead.{grpc,http}.piece.cpu_us.{gateway,postgres,bare}, ….piece.added_cpu_us
//                                      50 paced streams a second: processor time of one more piece, which is (a paced stream - one of the
//                                      same text that may leave at once) ÷ (pieces of the one - of the other); added: gateway and Postgres
//                                      - bare
//   overhead.rows_per_request, .bytes_per_request, .extra_bytes_per_request
//                                      what a unary request leaves in Postgres
//   overhead.onecore.{http,grpc}.unary.rps
//                                      gateway on one core, load and Postgres on the other
//
// Arguments choose parts: onecore, storage, throughput, latency, pieces; none: all. TOLLGATE_BENCH_PAIRS (8), TOLLGATE_BENCH_SECONDS (2).
// TOLLGATE_BENCH_HOLD=seconds: so long a load on each surface (or those named), for a profiler; says the gateway's process id.
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>

#include <fmt/format.h>

#include "tests/bench/bare_servers.h"
#include "tests/bench/cpu.h"
#include "tests/bench/figures.h"
#include "tests/bench/load.h"
#include "tests/bench/overhead.h"
#include "tests/bench/request_rows.h"
#include "tests/bench/world.h"

namespace tollgate::bench {
namespace {

constexpr int kClients = 256;          // Enough that the machine is busy while they wait for commits.
constexpr int kSample = 2 * kClients;  // Requests whose rows are inserted again.
constexpr double kSteadyRate = 500;

// What runs of one surface gave, run by run.
struct Runs {
  std::vector<double> per_s, p50, p99, p999, bare, insert, ratio;
  std::map<std::string, std::vector<double>> cpu_us;  // A request.
  double messages = 0, bare_messages = 0;

  void AddGateway(const Outcome& outcome, const std::map<std::string, double>& cpu) {
    per_s.push_back(outcome.per_s);
    p50.push_back(Quantile(outcome.ms, 0.5));
    p99.push_back(Quantile(outcome.ms, 0.99));
    p999.push_back(Quantile(outcome.ms, 0.999));
    const auto requests = static_cast<double>(outcome.requests);
    messages = static_cast<double>(outcome.messages) / requests;
    cpu_us["gateway"].push_back(cpu.at("tollgate") / requests * 1e6);
    cpu_us["postgres"].push_back(cpu.at("postgres") / requests * 1e6);
    cpu_us["load"].push_back(cpu.at("load") / requests * 1e6);
    cpu_us["all"].push_back(Total(cpu) / requests * 1e6);
  }

  void PrintAs(const std::string& name) const {
    PrintMedian(name + "rps", per_s, "requests/s", 0);
    PrintMedian(name + "p50_ms", p50, "ms");
    PrintMedian(name + "p99_ms", p99, "ms");
    PrintMedian(name + "p999_ms", p999, "ms");
    PrintMedian(name + "bare_rps", bare, "requests/s", 0);
    PrintMedian(name + "insert_rps", insert, "requests/s", 0);
    PrintMedian(name + "limit_ratio", ratio, "x");
    for (const char* what : {"gateway", "postgres", "load", "bare", "insert"})
      PrintMedian(name + "cpu_us." + what, cpu_us.at(what), "us", 0);
    Print(name + "cpu_ratio", (Median(cpu_us.at("bare")) + Median(cpu_us.at("insert"))) / Median(cpu_us.at("all")), "x");
  }
};

void Throughput(World& world, const BareServers& bare, int pairs, double seconds) {
  for (const Surface& surface : kSurfaces) {
    const Traffic gateway = TrafficTo(world, surface), echo = BareTraffic(gateway, bare);
    const Plan plan{.clients = kClients, .seconds = seconds}, half{.clients = kClients, .seconds = seconds / 2};
    Good(gateway, plan);
    Good(echo, half);
    RequestRows rows(world.databases(), world.NewDatabases(), kSample);
    rows.Insert(seconds / 2, kClients);
    Runs runs;
    Interleave(
        pairs,
        [&] {
          const CpuSince cpu;
          const Outcome outcome = Good(gateway, plan);
          runs.AddGateway(outcome, cpu.Used());
        },
        [&] {
          const CpuSince echoing;
          const Outcome outcome = Good(echo, half);
          runs.cpu_us["bare"].push_back(Total(echoing.Used()) / static_cast<double>(outcome.requests) * 1e6);
          runs.bare_messages = static_cast<double>(outcome.messages) / static_cast<double>(outcome.requests);
          runs.bare.push_back(outcome.per_s);
          const CpuSince inserting;
          const RequestRows::Inserted inserted = rows.Insert(seconds / 2, kClients);
          runs.cpu_us["insert"].push_back(Total(inserting.Used()) / static_cast<double>(inserted.requests) * 1e6);
          runs.insert.push_back(inserted.per_s);
        });
    for (std::size_t i = 0; i < runs.per_s.size(); ++i) runs.ratio.push_back(runs.per_s[i] * (1 / runs.bare[i] + 1 / runs.insert[i]));
    runs.PrintAs(fmt::format("overhead.{}.", surface.name));
    if (!surface.stream) continue;
    Print(fmt::format("overhead.{}.messages", surface.name), runs.messages, "messages/stream", 1);
    MustHave(surface, 2, runs.messages);
    MustHave(surface, 2, runs.bare_messages);
  }
}

void Latency(World& world, const BareServers& bare, int pairs, double seconds) {
  RequestRows rows(world.databases(), world.NewDatabases(), kSample);
  rows.CommitAtRate(0.5, kSteadyRate);
  for (const Surface& surface : kSurfaces) {
    const Traffic gateway = TrafficTo(world, surface), echo = BareTraffic(gateway, bare);
    const Plan plan{.clients = 256, .seconds = seconds, .rate_per_s = kSteadyRate};
    const auto P99 = [&](const Outcome& outcome) { return Quantile(surface.stream ? outcome.first_ms : outcome.ms, 0.99); };
    Good(gateway, plan);
    Good(echo, plan);
    std::vector<double> ours, theirs, commits;
    Interleave(
        pairs, [&] { ours.push_back(P99(Good(gateway, plan))); },
        [&] {
          theirs.push_back(P99(Good(echo, plan)));
          commits.push_back(Quantile(rows.CommitAtRate(seconds, kSteadyRate), 0.99));
        });
    std::vector<double> added;
    for (std::size_t i = 0; i < ours.size(); ++i) added.push_back((ours[i] - theirs[i]) / commits[i]);
    const std::string name = fmt::format("overhead.{}.steady500.", surface.name), what = surface.stream ? "ttft_p99_ms" : "p99_ms";
    PrintMedian(name + what, ours, "ms");
    PrintMedian(name + "bare_" + what, theirs, "ms");
    PrintMedian(name + "commit_p99_ms", commits, "ms");
    PrintMedian(fmt::format("overhead.{}.added_{}p99_commits", surface.name, surface.stream ? "ttft_" : ""), added, "commits");
  }
}

// Where the bytes are: each table and index, a request; and what its columns take.
void PrintSizes(base::Session& main, base::Session& keys, double requests) {
  const auto Show = [&](base::Session& session, const std::string& sql) {
    const auto rows = session.Run("measure", sql);
    if (!rows.ok()) Fail(base::Message(rows.status()));
    for (std::size_t i = 0; i < rows->size(); ++i)
      fmt::print(stderr, "  {} {:.0f}\n", rows->Text(i, 0), static_cast<double>(rows->Int(i, 1)) / requests);
  };
  for (base::Session* session : {&main, &keys}) {
    Show(*session,
         "SELECT c.oid::regclass::text, pg_relation_size(c.oid)::int8 FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
         "WHERE nspname IN ('audit', 'metering', 'keys') AND relkind IN ('r', 'i') AND pg_relation_size(c.oid) > 100000 ORDER BY 2 DESC");
  }
  for (const char* column : {"message", "content", "leaf_hash"}) {
    for (const int kind : {1, 4}) {
      Show(main, fmt::format("SELECT 'kind {0} {1}', sum(pg_column_size({1}))::int8 FROM audit.record WHERE kind = {0}", kind, column));
    }
  }
}

// What one allowed unary request leaves, counted in the tables.
void Storage(World& world) {
  const auto main = test::PostgresCluster::Shared().Connect(world.databases().main_url);
  const auto keys = test::PostgresCluster::Shared().Connect(world.databases().keys_url);
  const auto Number = [](base::Session& session, const std::string& sql) {
    const auto rows = session.Run("measure", sql);
    if (!rows.ok()) Fail(base::Message(rows.status()));
    return static_cast<double>(rows->Int(0, 0));
  };
  const auto Rows = [&] {
    return Number(*main,
                  "SELECT (SELECT count(*) FROM audit.record) + (SELECT count(*) FROM metering.usage) + (SELECT count(*) FROM "
                  "metering.transfer)") +
           Number(*keys, "SELECT count(*) FROM keys.request");
  };
  const auto Bytes = [&] {
    return Number(*main,
                  "SELECT sum(pg_total_relation_size(i.inhrelid))::int8 + pg_total_relation_size('metering.usage') + "
                  "pg_total_relation_size('metering.transfer') "
                  "FROM pg_inherits i WHERE i.inhparent = 'audit.record'::regclass") +
           Number(*keys, "SELECT pg_total_relation_size('keys.request')");
  };
  Traffic traffic = TrafficTo(world, kSurfaces[2]);
  traffic.prompts = {Prompts()[0]};
  const double rows_before = Rows(), bytes_before = Bytes();
  const Outcome outcome = Good(traffic, {.clients = kClients, .seconds = 60, .requests_max = 4000});
  const auto requests = static_cast<double>(outcome.requests);
  const double bytes = (Bytes() - bytes_before) / requests;
  if (std::getenv("TOLLGATE_BENCH_VERBOSE") != nullptr) PrintSizes(*main, *keys, requests);
  Print("overhead.rows_per_request", (Rows() - rows_before) / requests, "rows");
  Print("overhead.bytes_per_request", bytes, "bytes", 0);
  Print("overhead.extra_bytes_per_request", bytes - 2 * static_cast<double>(traffic.prompts[0].size()), "bytes", 0);
}

void UseCore(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  if (::sched_setaffinity(0, sizeof set, &set) != 0) Fail("cannot choose a core");
}

// Everything is started on core 1; then the gateway's threads move to core 0.
void OneCore(int runs, double seconds) {
  UseCore(1);
  e2e::InstanceOptions options = ScriptedInstance();
  options.extra.insert({"io_threads", "1"});
  World world(options);
  cpu_set_t zero;
  CPU_ZERO(&zero);
  CPU_SET(0, &zero);
  for (const auto& entry : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", world.process().pid()))) {
    ::sched_setaffinity(std::stoi(entry.path().filename()), sizeof zero, &zero);
  }
  for (const Surface& surface : {kSurfaces[2], kSurfaces[0]}) {
    std::vector<double> per_s;
    Good(TrafficTo(world, surface), {.clients = kClients, .seconds = 1});
    for (int i = 0; i < runs; ++i) per_s.push_back(Good(TrafficTo(world, surface), {.clients = kClients, .seconds = seconds}).per_s);
    PrintMedian(fmt::format("overhead.onecore.{}.rps", surface.name), per_s, "requests/s", 0);
  }
}

void Hold(double seconds, const std::set<std::string>& parts) {
  World world(ScriptedInstance());
  for (const Surface& surface : kSurfaces) {
    if (!parts.empty() && !parts.contains(surface.name)) continue;
    fmt::print("{}: gateway {}\n", surface.name, world.process().pid());
    std::fflush(stdout);
    const Outcome outcome = Good(TrafficTo(world, surface), {.clients = kClients, .seconds = seconds});
    fmt::print("{}: {:.0f} requests/s, p50 {:.2f} ms\n", surface.name, outcome.per_s, Quantile(outcome.ms, 0.5));
  }
}

// In a process of its own, so that each part has a fresh cluster and cores of its choice.
template <typename Part>
void Alone(const Part& part) {
  std::fflush(stdout);
  const pid_t pid = ::fork();
  if (pid == 0) {
    part();
    std::fflush(stdout);
    std::exit(0);
  }
  int status = 0;
  if (::waitpid(pid, &status, 0) != pid || status != 0) Fail("a part failed");
}

int Main(const std::set<std::string>& parts) {
  const int pairs = static_cast<int>(FromEnvironment("TOLLGATE_BENCH_PAIRS", 8));
  const double seconds = FromEnvironment("TOLLGATE_BENCH_SECONDS", 2);
  if (const double hold = FromEnvironment("TOLLGATE_BENCH_HOLD", 0); hold > 0) {
    Hold(hold, parts);
    return 0;
  }
  const auto Wanted = [&](const char* part) { return parts.empty() || parts.contains(part); };
  if (Wanted("onecore")) Alone([&] { OneCore(pairs, seconds); });
  if (Wanted("pieces")) Alone([&] { MeasurePieces(pairs, seconds); });
  if (Wanted("throughput") || Wanted("latency") || Wanted("storage")) {
    Alone([&] {
      World world(ScriptedInstance());
      const BareServers bare(Capture(world.gateway().grpc_port(), world.gateway().http_port(), world.key(), Prompts()[0]));
      if (Wanted("storage")) Storage(world);
      if (Wanted("throughput")) Throughput(world, bare, pairs, seconds);
      if (Wanted("latency")) {
        Good(TrafficTo(world, kSurfaces[2]), {.clients = kClients, .seconds = 1});
        Latency(world, bare, pairs, seconds);
      }
    });
  }
  return 0;
}

}  // namespace
}  // namespace tollgate::bench

int main(int argc, char** argv) {
  tollgate::bench::ServeBareIfAsked(argc, argv);
  return tollgate::bench::Main({argv + 1, argv + argc});
}
