// Each text is scanned by itself, as if it were the only one; then the neighbourhood of each seam, of which only what lies across the seam
// is kept. A neighbourhood that begins in the middle of a text shows a few bytes there without what stands before them, so what begins in
// these is dropped. Neighbourhoods that overlap are scanned as one: a value in many short messages has many seams.
//
// Tested by tests/policy/message_runs_test.cpp.
#include "policy/message_runs.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <tuple>

#include "policy/disguise.h"

namespace tollgate::policy {
namespace {

constexpr std::int64_t kUnsureBytes = static_cast<std::int64_t>(kLeftContextBytes) + 4;

bool InsideCodePoint(std::string_view text, std::int64_t at) {
  return at < static_cast<std::int64_t>(text.size()) && (static_cast<unsigned char>(text[static_cast<std::size_t>(at)]) & 0xC0) == 0x80;
}

struct Neighbourhood {
  std::int64_t begin = 0, end = 0;
};

std::vector<Neighbourhood> AroundSeams(std::string_view text, std::span<const std::int64_t> seams) {
  std::vector<Neighbourhood> out;
  for (const std::int64_t seam : seams) {
    Neighbourhood its{std::max<std::int64_t>(seam - kSeamBytes, 0), std::min(seam + kSeamBytes, static_cast<std::int64_t>(text.size()))};
    while (InsideCodePoint(text, its.begin)) ++its.begin;
    while (InsideCodePoint(text, its.end)) ++its.end;
    if (!out.empty() && its.begin <= out.back().end)
      out.back().end = its.end;
    else
      out.push_back(its);
  }
  return out;
}

// Continuations become part of what they continue.
std::vector<Hit> WithoutContinuations(const std::vector<Hit>& hits) {
  std::vector<Hit> out;
  for (const Hit& hit : hits) {
    if (!hit.continuation) {
      out.push_back(hit);
      continue;
    }
    const auto whole = std::find_if(out.rbegin(), out.rend(), [&](const Hit& h) { return h.source == hit.source && h.end == hit.begin; });
    if (whole != out.rend()) whole->end = hit.end;
  }
  return out;
}

// Keywords say how long they are. Where a pattern has no longest match, what stands behind the seam may be a key's rest, or the next
// sentence's first word: a rest that is worth hiding is longer than words are.
std::int64_t LeastGrowth(const Program::Source& source) {
  constexpr std::int64_t kRestBytes = 16;
  if (source.pattern == nullptr) return 0;
  return source.pattern->cap() > 0 ? kRestBytes : INT64_MAX;
}

// Whether it is less than `least` bytes longer than a hit of its detector in one text. `own`: those hits, ordered.
bool GrewFromOne(const Hit& across, std::span<const Hit> own, std::int64_t least) {
  const auto begins_before = [](const Hit& hit, std::int64_t at) { return hit.begin < at; };
  for (auto hit = std::lower_bound(own.begin(), own.end(), across.begin, begins_before); hit != own.end() && hit->begin < across.end;
       ++hit) {
    if (hit->source == across.source && hit->end <= across.end && across.end - across.begin - (hit->end - hit->begin) < least) return true;
  }
  return false;
}

std::string ReplacementFor(const Program& program, const Resolver::Edit& edit, std::string_view span, Pseudonyms& pseudonyms) {
  const Program::Source& source = program.sources()[edit.source];
  if (source.replacement.form == Replacement::Form::kPseudonym && edit.alone) {
    if (auto made = pseudonyms.Add(source.replacement.text, span, program.rules()[source.rule].id)) return *std::move(made);
  }
  return source.replacement.For(span, edit.alone);
}

}  // namespace

std::vector<std::vector<std::size_t>> RunsOf(std::span<const Message> prompt) {
  std::vector<std::vector<std::size_t>> runs;
  std::map<std::tuple<Role, std::string_view, Part, std::string_view, bool>, std::size_t> by_author;
  for (std::size_t i = 0; i < prompt.size(); ++i) {
    const Message& its = prompt[i];
    const auto [run, first] = by_author.try_emplace({its.role, its.name, its.channel.part, its.channel.tool, its.aside}, runs.size());
    if (first) runs.emplace_back();
    runs[run->second].push_back(i);
  }
  return runs;
}

std::vector<Hit> FindInRun(const Program& program, std::span<const std::string> texts, const Program::Selection& selection,
                           Effort* effort) {
  if (texts.size() == 1) return FindEverywhere(program, texts[0], selection, effort);
  std::string joined;
  std::vector<std::int64_t> seams;
  std::vector<Hit> hits;
  const auto add = [&](Hit hit, std::int64_t base) {
    hit.begin += base;
    hit.end += base;
    hits.push_back(hit);
  };
  for (const std::string& text : texts) {
    const auto base = static_cast<std::int64_t>(joined.size());
    if (base > 0 && !text.empty()) seams.push_back(base);
    for (const Hit& hit : FindEverywhere(program, text, selection, effort)) add(hit, base);
    if (!Hold(effort, hits.size())) return hits;
    joined += text;
  }
  const std::vector<Hit> own = WithoutContinuations(hits);
  const std::size_t before = hits.size();
  for (const Neighbourhood& near : AroundSeams(joined, seams)) {
    if (!Hold(effort, hits.size())) break;
    const auto begin = static_cast<std::size_t>(near.begin), length = static_cast<std::size_t>(near.end - near.begin);
    const std::string_view text = std::string_view(joined).substr(begin, length);
    for (const Hit& hit : WithoutContinuations(FindEverywhere(program, text, selection, effort))) {
      if (near.begin > 0 && hit.begin < kUnsureBytes) continue;
      const auto seam = std::upper_bound(seams.begin(), seams.end(), near.begin + hit.begin);
      if (seam == seams.end() || *seam >= near.begin + hit.end) continue;
      const Program::Source& source = program.sources()[hit.source];
      if (source.as_written) continue;
      const Hit across{near.begin + hit.begin, near.begin + hit.end, hit.rule, hit.source, false, hit.views, hit.bits_thousandths};
      if (!GrewFromOne(across, own, LeastGrowth(source))) hits.push_back(across);
    }
  }
  if (hits.size() > before) program.Finish(hits);
  return hits;
}

std::vector<std::vector<TextEdit>> EditsByText(const Program& program, std::span<const std::string> texts,
                                               std::span<const Resolver::Edit> edits, Pseudonyms& pseudonyms) {
  std::string joined;
  for (const std::string& text : texts) joined += text;
  std::vector<std::vector<TextEdit>> out(texts.size());
  std::int64_t base = 0;
  std::size_t next = 0;  // The first edit that does not end before `base`.
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::int64_t end = base + static_cast<std::int64_t>(texts[i].size());
    while (next < edits.size() && edits[next].end <= base) ++next;
    for (std::size_t at = next; at < edits.size() && edits[at].begin < end; ++at) {
      const Resolver::Edit& edit = edits[at];
      const Program::Source& source = program.sources()[edit.source];
      TextEdit its{std::max(edit.begin, base) - base, std::min(edit.end, end) - base, "", "", source.rule, edit.alone};
      if (edit.begin >= base) {
        const auto begin = static_cast<std::size_t>(edit.begin), length = static_cast<std::size_t>(edit.end - edit.begin);
        const std::string_view span = std::string_view(joined).substr(begin, length);
        its.text = ReplacementFor(program, edit, span, pseudonyms);
        its.hidden = source.replacement.For(span, /*alone=*/false);
      }
      out[i].push_back(std::move(its));
    }
    base = end;
  }
  return out;
}

std::string ApplyTextEdits(std::string_view text, std::span<const TextEdit> edits) {
  std::string out;
  std::size_t at = 0;
  for (const TextEdit& edit : edits) {
    out += text.substr(at, static_cast<std::size_t>(edit.begin) - at);
    out += edit.text;
    at = static_cast<std::size_t>(edit.end);
  }
  out += text.substr(at);
  return out;
}

}  // namespace tollgate::policy
