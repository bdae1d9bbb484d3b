// What README.md, and the lines that `tollgate dev` prints, tell a newcomer to type: read out of them, pasted into bash as they are, each
// held to what it promises. Of "Run it for real", steps 1 to 5 are about the machine's packages and its Postgres: every test of this
// program migrates and serves under two such logins (support/installation.cpp).
#include <catch2/catch_test_macros.hpp>

#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <regex>
#include <sstream>

#include <fmt/format.h>

#include "base/encoding.h"
#include "gateway/cli/dev_files.h"
#include "tests/e2e/support/ask.h"
#include "tests/e2e/support/gateway.h"
#include "tests/e2e/support/http_client.h"
#include "tests/e2e/support/installation.h"
#include "tests/e2e/support/process.h"

namespace {

using namespace tollgate::e2e;
namespace base = tollgate::base;
namespace cli = tollgate::cli;
namespace fs = std::filesystem;
namespace test = tollgate::test;

struct Block {
  std::string section;   // "Try what it is for"
  std::string language;  // "bash", "python"; may be empty.
  std::vector<std::string> lines;
};

std::vector<Block> BlocksOfReadme() {
  const auto text = base::ReadFile(TOLLGATE_SOURCE_DIR "/README.md");
  REQUIRE(text.ok());
  std::vector<Block> blocks;
  std::string section;
  bool inside = false;
  std::istringstream in(*text);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("```")) {
      inside = !inside;
      if (inside) blocks.push_back({section, line.substr(3), {}});
    } else if (inside) {
      blocks.back().lines.push_back(line);
    } else if (line.starts_with("## ")) {
      section = line.substr(3);
    }
  }
  return blocks;
}

bool IsCommand(const std::string& line) { return !line.empty() && !line.starts_with('#'); }

// The lines of a section that a shell is to run, from the first one behind `from` on.
std::vector<std::string> CommandsOf(const std::string& section, const std::string& from = "") {
  std::vector<std::string> commands;
  bool begun = from.empty();
  for (const Block& block : BlocksOfReadme()) {
    if (block.section != section || (block.language != "" && block.language != "bash")) continue;
    for (const std::string& line : block.lines) {
      begun = begun || line.starts_with(from);
      if (begun && IsCommand(line)) commands.push_back(line);
    }
  }
  return commands;
}

std::string OneSpaced(const std::string& line) { return std::regex_replace(line, std::regex(" +"), " "); }

// What comes of a line.
struct Row {
  std::string line;  // README's with its comment, which is the promise, in single spaces; the banner's as far as it tells it from others.
  int code = 0;
  std::vector<std::string> says{};  // In what it prints.
  std::string untried{};            // Why nobody runs it here.
  std::function<void()> before{};
  std::function<void(const Finished&)> after{};
};

// A folder like the clone that README has the reader stand in, and a shell there, whose variables stay from one line to the next.
class Clone {
 public:
  explicit Clone(std::map<std::string, std::string> environment) : environment_(std::move(environment)) {
    fs::permissions(path(), fs::perms::others_exec,
                    fs::perm_options::add);  // For the server's user: its cluster lies here, and goes with it.
    for (const char* preset : {"/build/dev/bin", "/build/release/bin"}) {
      fs::create_directories(path() + preset);
      fs::create_symlink(TollgateBinary(), path() + preset + "/tollgate");
    }
    fs::create_directories(path() + "/var/openai/bin");
    fs::create_directory_symlink(TOLLGATE_SOURCE_DIR "/policy", path() + "/policy");
    fs::create_directory_symlink(TOLLGATE_SOURCE_DIR "/build/setup/node_modules", path() + "/node_modules");
    Write("var/openai/bin/python", fmt::format("#!/bin/sh\nexec '{}' \"$@\"\n", SdkPython()), 0755);
    Write("variables", "", 0600);
    environment_["PATH"] = fmt::format("{}:{}", TOLLGATE_SOURCE_DIR "/build/setup/node", std::getenv("PATH"));
    environment_["PYTHONDONTWRITEBYTECODE"] = "1";
    for (const char* name : {"no_proxy", "NO_PROXY"}) environment_[name] = "127.0.0.1";
    for (const char* name : {"TOLLGATE_ADMIN", "TOLLGATE_API", "TOLLGATE_KEY"}) environment_.try_emplace(name, "");
  }
  const std::string& path() const { return dir_.path(); }
  void Write(const std::string& name, const std::string& text, unsigned mode) const {
    REQUIRE(base::WriteFileAtomically(dir_.File(name), text, mode).ok());
  }
  Finished Paste(const std::string& line) const {
    std::string script = fmt::format("cd {} && . ./variables || exit 99\n{}\ncode=$?\n", path(), line);
    std::smatch set;
    if (std::regex_search(line, set, std::regex("^([A-Z_]+)=")))
      script += fmt::format("printf '{0}=%q\\n' \"${0}\" >> variables\n", set[1].str());
    return RunToEnd({"bash", "-c", script + "exit $code\n"}, milliseconds(60'000), {.environment = environment_});
  }

 private:
  test::TempDir dir_;
  std::map<std::string, std::string> environment_;
};

using Fits = std::function<bool(const Row& row, const std::string& line)>;

bool Whole(const Row& row, const std::string& line) { return row.line == OneSpaced(line); }
bool InPart(const Row& row, const std::string& line) { return line.find(row.line) != std::string::npos; }

// Pastes the lines one after the other. `model`: what the one that README names is called here.
void Try(const Clone& clone, const std::string& source, const std::vector<std::string>& lines, std::vector<Row> rows, const Fits& fits,
         const std::string& model) {
  for (const std::string& line : lines) {
    const auto row = std::find_if(rows.begin(), rows.end(), [&](const Row& one) { return fits(one, line); });
    if (row == rows.end()) {
      FAIL_CHECK(source << " has a line of which tests/e2e/readme_test.cpp does not say what comes of it: " << line);
      continue;
    }
    if (row->untried.empty()) {
      INFO(source << " says: " << line);
      if (row->before) row->before();
      const Finished run = clone.Paste(std::regex_replace(line, std::regex("smollm2"), model));
      INFO("exit code " << run.code << "\n" << run.out << run.err);
      CHECK(run.code == row->code);
      for (const std::string& words : row->says) {
        INFO("It is to say: " << words);
        CHECK((run.out + run.err).find(words) != std::string::npos);
      }
      if (row->after) row->after(run);
    }
    rows.erase(row);
  }
  for (const Row& row : rows) FAIL_CHECK("tests/e2e/readme_test.cpp expects a line that is no longer in " << source << ": " << row.line);
}

// `tollgate dev` in its own folder of the clone, as `make run` starts it, but for its ports and its model.
struct Dev {
  Dev()
      : process({"bash", "-c",
                 fmt::format("cd {} && exec build/dev/bin/tollgate dev --scripted --http-port 0 --grpc-port 0 --admin-port 0 "
                             "--probes-port 0",
                             clone.path())}) {
    const bool ready = process.WaitForOut("Ctrl-C ends it", milliseconds(90'000));
    INFO(process.Out() << process.Err());
    REQUIRE(ready);
    const std::string folder = clone.path() + "/var/dev";
    REQUIRE(Eventually([&] { return cli::ReadDevEndpoints(folder).ok(); }));
    endpoints = *cli::ReadDevEndpoints(folder);
    keys = *cli::ReadDevKeys(folder);
  }
  ~Dev() { Ended(); }
  bool Ended() {
    process.Signal(SIGINT);
    return process.Wait(milliseconds(30'000)) == 0;
  }
  Answer Say(const std::string& key, const std::string& prompt) const {
    return Ask({endpoints.grpc_port, endpoints.http_port}, Surface::kGrpcStream, {.key = key, .prompt = prompt});
  }
  std::string Key(const std::string& name) const { return cli::SecretOf(keys, name); }

  Clone clone{{}};
  Process process;
  cli::DevEndpoints endpoints;
  std::vector<cli::DevKey> keys;
};

const char kSky[] = "Why is the sky blue?";  // The scripted model answers with the question.

// README's program, with the printed address and key as it says, under the name that it gives it.
void SaveProgram(const Dev& dev) {
  std::string text;
  for (const Block& block : BlocksOfReadme()) {
    if (block.section != "Two commands" || block.language != "python") continue;
    for (const std::string& line : block.lines) text += line + "\n";
  }
  for (const auto& [said, meant] :
       {std::pair<std::string, std::string>{"127.0.0.1:8080", fmt::format("127.0.0.1:{}", dev.endpoints.http_port)},
        {"tg_dev_...", dev.Key("web")},
        {"smollm2", "scripted"}}) {
    const std::size_t at = text.find(said);
    INFO(text << "\nis to say " << said);
    REQUIRE(at != std::string::npos);
    text.replace(at, said.size(), meant);
  }
  dev.clone.Write("ask.py", text, 0600);
}

std::vector<Row> FirstSteps() {
  const std::string machine = "It sets up the machine, or the clone.";
  return {
      {.line = "sudo apt-get update && sudo apt-get install -y git make # as root without sudo", .untried = machine},
      {.line = "git clone ADDRESS-OF-THIS-REPOSITORY tollgate && cd tollgate", .untried = machine},
      {.line = "make run # sets up the machine, builds, starts Tollgate with a small model, a database of its own and a sample company",
       .untried = machine},
      {.line = "make test # sets up the machine, builds and runs every test", .untried = machine},
      {.line = "make demo # the whole story in seven steps, each one checked; a minute or so", .untried = "dev_test.cpp has it told."},
      {.line = "build/dev/bin/tollgate chat -v --temperature 0 --max-tokens 60 \"Why is the sky blue?\" # -v: tokens, what policy did, the "
               "record",
       .says = {kSky, "tokens  ", "input   allow", "output  allow", "record  "}},
      {.line = "build/dev/bin/tollgate audit list --since 1h --kind request --kind deny --kind final # what is on record",
       .says = {"request", "final", "acme/search/web"}},
      {.line = "build/dev/bin/tollgate usage report --by team # what it costs", .says = {"search", "EUR"}},
      {.line = "python3 -m venv var/openai && var/openai/bin/pip install openai", .untried = "It asks a package index."},
      {.line = "var/openai/bin/python ask.py", .says = {kSky}},
  };
}

std::vector<Row> WhatItIsFor(Dev& dev, std::future<Answer>& running) {
  const auto of_helpdesk = [&dev] { return dev.Say(dev.Key("helpdesk"), "!tokens 300"); };
  return {
      {.line = "T=build/dev/bin/tollgate"},
      {.line =
           "$T chat -v --temperature 0 --max-tokens 40 \"My card is 4111 1111 1111 1111.\" # \"redact by pii.card\": the model gets [CARD]",
       .says = {"My card is [CARD].", "input   redact by pii.card"}},
      {.line = "$T chat \"When does Project Falcon launch?\" # blocked by a rule, with its reason",
       .code = 1,
       .says = {"topic.falcon", "This project is not announced yet"}},
      {.line = "$T policy test --input \"write to ann@acme.example\" # try a text against the policies in force",
       .says = {"input: redact by pii.email", "becomes: write to [EMAIL]"}},
      {.line = "$T quota set tokens/minute 200 --project support/helpdesk # in force within a second; streams end at the last token",
       .says = {"set: 200 tokens/minute of acme/support/helpdesk", "within a second"},
       .after =
           [of_helpdesk](const Finished&) {
             const Answer answer = of_helpdesk();
             CHECK(answer.quota_reached != "");
             CHECK(answer.input + answer.output == 200);
           }},
      {.line = "$T quota remove tokens/minute --project support/helpdesk",
       .says = {"removed: 200 tokens/minute"},
       .after =
           [of_helpdesk](const Finished&) {
             const Answer answer = of_helpdesk();
             CHECK(answer.quota_reached == "");
             CHECK(answer.output == 300);
           }},
      {.line = "$T key create search/web --name ci --expires 90d # printed once",
       .says = {"of acme/search/web", "shown this once", "expires 20"},
       .after =
           [&dev](const Finished& run) {
             const std::string key = run.out.substr(0, run.out.find('\n'));
             CHECK(key.starts_with("tg_dev_"));
             CHECK(dev.Say(key, "hi").text == "hi");
           }},
      {.line = "$T stop model smollm2 --reason \"incident 12\" # refuses, and ends running streams, within a second",
       .says = {"is stopped", "within a second"},
       .before =
           [&dev, &running] {
             running = std::async(std::launch::async, [&dev] { return dev.Say(dev.Key("web"), "!hang"); });
             const auto runs = [&dev] {
               return Get(dev.endpoints.probes_port, "/metrics").body.find("tollgate_requests_running 1") != std::string::npos;
             };
             REQUIRE(Eventually(runs));
           },
       .after =
           [&running](const Finished&) {
             const Answer ended = running.get();
             CHECK_FALSE(ended.done);
             CHECK(ended.reason == "EMERGENCY_STOP");
           }},
      {.line = "$T chat hi # says what is stopped, and why", .code = 1, .says = {"model scripted", "incident 12"}},
      {.line = "$T stop model smollm2 --lift --reason \"mended\" # and serves again",
       .says = {"may run again"},
       .after = [&dev](const Finished&) { CHECK(dev.Say(dev.Key("web"), "hi").text == "hi"); }},
      {.line = "$T audit verify # recomputes every leaf from the stored bytes", .says = {"every record is as it was written"}},
      {.line = "$T usage reconcile # records = usage = ledger", .says = {"records, usage and ledger agree"}},
  };
}

// Each stands alone at the left margin.
std::vector<std::string> LinesOfBanner(const std::string& banner) {
  std::istringstream in(banner.substr(std::min(banner.size(), banner.find("Paste into another terminal."))));
  std::vector<std::string> lines;
  std::string line;
  std::getline(in, line);
  while (std::getline(in, line) && !line.starts_with("Ctrl-C")) {
    if (IsCommand(line)) lines.push_back(line);
  }
  return lines;
}

std::vector<Row> Pasted(const Clone& clone) {
  const bool grpcurl = clone.Paste("command -v grpcurl").code == 0;
  return {
      {.line = "tollgate demo", .untried = "dev_test.cpp has it told."},
      {.line = "tollgate chat -v --temperature 0 --max-tokens 60", .says = {kSky, "tokens  ", "record  "}},
      {.line = "curl -N http://127.0.0.1:", .says = {"\"content\":\"Why ", "\"finish_reason\":\"stop\"", "data: [DONE]"}},
      {.line = "grpcurl -plaintext", .says = {"\"text\": \"Why ", "\"end\""}, .untried = grpcurl ? "" : "There is no grpcurl here."},
      {.line = "python3 -m venv var/openai", .untried = "It asks a package index."},
      {.line = "var/openai/bin/python -c 'from openai import OpenAI;", .says = {kSky}},
      {.line = "node --input-type=module -e 'import OpenAI from", .says = {kSky}},
      {.line = "tollgate audit list --since 1h", .says = {"request", "final", "acme/search/web"}},
      {.line = "tollgate usage report --by team", .says = {"search", "EUR"}},
  };
}

std::vector<Row> ForReal() {
  return {
      {.line = "$T prices set smollm2 --input 0.10 --output 0.40", .says = {"smollm2 costs 0.1", "output tokens"}},
      {.line = "$T org create acme", .says = {"org acme made"}},
      {.line = "$T team create search --org acme", .says = {"team acme/search made"}},
      {.line = "$T project create search/web --org acme", .says = {"project acme/search/web made"}},
      {.line = "APP_KEY=$($T key create search/web --org acme --name web --owner wanda@acme.example)",
       .says = {"roles member, owner wanda@acme.example", "shown this once"}},
      {.line = "$T policy put policy/samples/acme.yaml --org acme",
       .says = {"policy acme of acme: version 1 stored, version 1 is in force"}},
      {.line = "$T quota set tokens/month 2000000 --team search --org acme", .says = {"set: 2,000,000 tokens/month of acme/search"}},
      {.line = "TOLLGATE_KEY=$APP_KEY $T chat -v --temperature 0 --max-tokens 60 \"Why is the sky blue? Tell ann@acme.example.\"",
       .says = {"Why is the sky blue? Tell [EMAIL].", "input   redact by pii.email", "record  "}},
      {.line = "$T audit list --since 1h --org acme --kind request --kind final", .says = {"request", "final", "acme/search/web"}},
      {.line = "$T usage report --by team", .says = {"search", "EUR"}},
  };
}

}  // namespace

TEST_CASE("What README.md tells a newcomer to type, and what tollgate dev prints to paste, does what it says") {
  Dev dev;
  SaveProgram(dev);
  Try(dev.clone, "README.md, \"Two commands\",", CommandsOf("Two commands"), FirstSteps(), Whole, "scripted");
  std::future<Answer> running;
  Try(dev.clone, "README.md, \"Try what it is for\",", CommandsOf("Try what it is for"), WhatItIsFor(dev, running), Whole, "scripted");
  Try(dev.clone, "What tollgate dev prints", LinesOfBanner(dev.process.Out()), Pasted(dev.clone), InPart, "scripted");
  CHECK(dev.Ended());
}

TEST_CASE("README.md leads from a served installation to the first answer, its record and its price") {
  Installation installation;
  Gateway gateway(installation, {.model_name = "smollm2"});
  const Clone clone({{"TOLLGATE_ADMIN", fmt::format("127.0.0.1:{}", gateway.admin_port())},
                     {"TOLLGATE_API", fmt::format("127.0.0.1:{}", gateway.grpc_port())},
                     {"TOLLGATE_KEY", installation.owner_key()}});
  const std::vector<std::string> all = CommandsOf("Run it for real");
  REQUIRE(all.at(0) == "T=$PWD/build/release/bin/tollgate");
  REQUIRE(clone.Paste(all[0]).code == 0);
  Try(clone, "README.md, \"Run it for real\", from step 6 on,", CommandsOf("Run it for real", "# 6."), ForReal(), Whole, "smollm2");
}
