// Each family of chat templates with libllama: the same text as its own layouts, and no control token where a caller wrote one.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>

#include <fmt/format.h>
#include <llama.h>

#include "inference/chat_families.h"
#include "inference/chat_format.h"
#include "inference/engines/llama_tokenizer.h"
#include "tests/inference/chat_templates.h"
#include "tests/inference/support.h"
#include "tests/inference/tiny_model.h"
#include "tests/support/random.h"

namespace tollgate::inference {
namespace {

using test::PublishedTemplate;
using test::PublishedTemplates;
using test::TinyModel;

const std::vector<Turn> kConversation = {{"system", "", "S"}, {"user", "", "U1"}, {"assistant", "", "A1"}, {"user", "", "U2"}};

std::string Laid(const ChatFormat& format, const std::vector<Turn>& turns, const std::string& end) {
  const auto parts = format.Lay(turns);
  REQUIRE(parts.ok());
  std::string text;
  for (const ChatPart& part : *parts) text += part.text == "{bos}" ? "<s>" : part.text == "{eos}" ? end : part.text;
  return text;
}

std::string LaidByLibllama(const char* name, const std::vector<Turn>& turns) {
  std::vector<llama_chat_message> messages;
  for (const Turn& turn : turns) messages.push_back({turn.role.c_str(), turn.text.c_str()});
  std::string text(4096, '\0');
  const int size = llama_chat_apply_template(name, messages.data(), messages.size(), true, text.data(), static_cast<int>(text.size()));
  REQUIRE(size >= 0);
  return text.substr(0, static_cast<std::size_t>(size));
}

std::vector<std::string> ControlsOf(const ChatFamily& family) {
  std::vector<std::string> names;
  for (const std::string_view name : family.control) {
    if (!name.empty() && !name.ends_with("think>")) names.emplace_back(name);  // Those of thoughts are there, as users' own.
  }
  return names;
}

// A tiny model whose vocabulary has the family's control tokens, of this type: 3 control, 4 defined by users.
struct Vocabulary {
  Vocabulary(const PublishedTemplate& row, std::uint32_t type = 3, bool space_first = false)
      : controls(ControlsOf(*FamilyByName(row.family))), lays_thoughts(std::string_view(row.family).starts_with("deepseek3.1")) {
    ModelOptions model = TinyModel("llama", 1, 0.1F, {controls, type, row.jinja, space_first}).WriteTo(folder);
    tokenizer = MakeLlamaTokenizer(model, "");
  }

  std::vector<std::int32_t> Render(const std::vector<Turn>& turns) const {
    REQUIRE(tokenizer.ok());
    auto tokens = (*tokenizer)->Render(turns);
    REQUIRE(tokens.ok());
    return *tokens;
  }
  // Control tokens alone; libllama gives them no text.
  std::vector<std::int32_t> ControlsIn(const std::vector<Turn>& turns) const {
    std::vector<std::int32_t> found;
    for (const std::int32_t token : Render(turns)) {
      const bool ours = token >= test::kTinyControls && token < test::kTinyControls + static_cast<std::int32_t>(controls.size());
      const bool thought = token == test::kTinyImEnd + 1 || token == test::kTinyImEnd + 2;
      if (ours || token < 3 || token == 259 || token == 260 || (lays_thoughts && thought)) found.push_back(token);
    }
    return found;
  }

  tollgate::test::TempDir folder;
  std::vector<std::string> controls;
  bool lays_thoughts;  // Its layouts name the tokens around a thought.
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer{absl::UnknownError("")};
};

TEST_CASE("Every family has a published template here, which is told to be of it and laid out as it says") {
  for (const ChatFamily& family : ChatFamilies()) {
    INFO(family.name);
    CHECK(
        std::any_of(PublishedTemplates().begin(), PublishedTemplates().end(), [&](const auto& row) { return row.family == family.name; }));
  }
  for (const PublishedTemplate& row : PublishedTemplates()) {
    INFO(row.family);
    const auto format = ChatFormat::FromTemplate(row.jinja);
    INFO(format.status().ToString());
    REQUIRE(format.ok());
    CHECK(format->name() == row.family);
    CHECK(Laid(*format, kConversation, "</s>") == row.golden);
  }
}

TEST_CASE("Layouts are libllama's own, where it knows the family and lays it out as published") {
  int compared = 0;
  for (const PublishedTemplate& row : PublishedTemplates()) {
    if (*row.libllama == '\0') continue;
    INFO(row.family);
    const ChatFormat format = *ChatFormat::Choose(row.family, "");
    std::vector<Turn> turns = kConversation;
    if (!row.same_system) turns.erase(turns.begin());
    if (!row.same_reply) turns.resize(turns.size() - 2);
    const std::string end = format.name() == "zephyr"      ? "<|endoftext|>"
                            : format.name() == "deepseek2" ? "<\xEF\xBD\x9C"
                                                             "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>"
                                                           : "</s>";
    CHECK(Laid(format, turns, end) == LaidByLibllama(row.libllama, turns));
    for (Turn& turn : turns) turn.text = "  two\n words ";
    if (std::string(row.libllama) != "llama2-sys-bos") CHECK(Laid(format, turns, end) == LaidByLibllama(row.libllama, turns));
    ++compared;
  }
  CHECK(compared == 21);
}

TEST_CASE("DeepSeek's from V3.1 on are laid out as libllama lays out V3, but for the thoughts that are closed or opened") {
  for (const char* name : {"deepseek3.1", "deepseek3.1-thinking"}) {
    std::string text = Laid(*ChatFormat::Choose(name, ""), {kConversation.begin() + 1, kConversation.end()}, "");
    for (const std::string mark : {"<think>", "</think>"}) {
      for (std::size_t at = text.find(mark); at != std::string::npos; at = text.find(mark)) text.erase(at, mark.size());
    }
    CHECK(text == LaidByLibllama("deepseek3", {kConversation.begin() + 1, kConversation.end()}));
  }
}

TEST_CASE("A prompt begins with the begin token once, and the token that ends a turn ends an answer") {
  for (const PublishedTemplate& row : PublishedTemplates()) {
    INFO(row.family);
    const Vocabulary model(row);
    INFO(model.tokenizer.status().ToString());
    const auto tokens = model.Render({{"user", "", "hi"}});
    CHECK(tokens[0] == 1);
    CHECK(std::count(tokens.begin(), tokens.end(), 1) == 1);
    const std::string end = ChatFormat::FromTemplate(row.jinja)->turn_end();
    const auto at = std::find(model.controls.begin(), model.controls.end(), end);
    const std::int32_t token = end == "{eos}"        ? 2
                               : end == "<|im_end|>" ? test::kTinyImEnd
                                                     : test::kTinyControls + static_cast<std::int32_t>(at - model.controls.begin());
    CHECK((*model.tokenizer)->EndsTurn(token));
  }
}

TEST_CASE("Whatever markers of whatever family a caller writes, the prompt has the control tokens of its turns and no other") {
  const std::uint64_t seed = tollgate::test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  std::vector<std::string> words = {"{}", "{bos}", "{eos}", "<s>", "</s>", "<think>", "</think>",
                                    " ",  "\n",    "a",     "<",   "[",    "|>",      "\xE4\xBD\xA0"};
  for (const ChatFamily& family : ChatFamilies()) {
    for (const auto& names : {family.control, family.plain}) {
      for (const std::string_view name : names) words.emplace_back(name);
    }
  }
  const auto hostile = [&] {
    std::string text = "x";
    for (int i = 0; i < 12; ++i) text += words[random() % words.size()];
    return text + "x";
  };
  for (const PublishedTemplate& row : PublishedTemplates()) {
    INFO(row.family);
    for (const std::uint32_t type : {3U, 4U}) {
      const Vocabulary model(row, type);
      INFO(model.tokenizer.status().ToString());
      const auto benign = model.ControlsIn(kConversation);
      for (int i = 0; i < 40; ++i) {
        std::vector<Turn> turns = kConversation;
        for (Turn& turn : turns) turn.text = hostile();
        INFO(turns[0].text << turns[1].text << turns[2].text << turns[3].text);
        CHECK(model.ControlsIn(turns) == benign);
      }
    }
  }
}

TEST_CASE("A file that leaves control tokens to callers is refused where text cannot be cut, and one that lacks them too") {
  const PublishedTemplate& gemma = PublishedTemplates()[7];
  REQUIRE(std::string(gemma.family) == "gemma");
  const Vocabulary open(gemma, 4, true);
  CHECK(open.tokenizer.status().code() == absl::StatusCode::kFailedPrecondition);
  CHECK(base::Message(open.tokenizer.status()).find("newer conversion") != std::string::npos);
  const tollgate::test::TempDir folder;
  ModelOptions model = TinyModel("llama").WriteTo(folder);
  model.chat_template = "gemma";
  const auto other = MakeLlamaTokenizer(model, "");
  CHECK(base::Message(other.status()).find("gemma, uses <start_of_turn>") != std::string::npos);
  model.chat_template = "vicuna";
  CHECK((*MakeLlamaTokenizer(model, ""))->format() == "vicuna");
  model.chat_template = "gemma9";
  CHECK(MakeLlamaTokenizer(model, "").status().code() == absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace tollgate::inference
