// Trapped instructions with operands: control and debug registers, MSRs, port I/O.

#include <cstring>

#include "core/x86/msr.h"
#include "hw_models/cpu/unicorn_processor.h"

namespace cupel::cpu {

using x86::CrAccess;
using x86::Gpr;

namespace {

uint64_t size_mask(unsigned size) { return size >= 8 ? ~0ull : (1ull << (size * 8)) - 1; }

// Writes the low `size` bytes of a register as instructions do: 4 bytes clear the upper half.
void set_low(uint64_t& reg, unsigned size, uint64_t value) {
  const uint64_t mask = size_mask(size);
  reg = size == 4 ? value & mask : (reg & ~mask) | (value & mask);
}

}  // namespace

// --- MSRs -------------------------------------------------------------------------------------

void UnicornProcessor::trap_msr() {
  const bool write = (engine_error_code() & 1) != 0;
  auto& r = gpr();
  Trap trap;
  trap.kind = write ? TrapKind::wrmsr : TrapKind::rdmsr;
  trap.length = trapped_length(write ? 0x30 : 0x32);
  trap.msr = static_cast<uint32_t>(r[Gpr::rcx]);
  trap.value = (r[Gpr::rdx] << 32) | static_cast<uint32_t>(r[Gpr::rax]);
  if (exits(trap)) return;
  if (write) {
    if (!write_msr(trap.msr, trap.value)) return raise(x86::kGP, 0);
  } else {
    uint64_t value = 0;
    if (trap.msr == x86::msr::TSC) {
      value = monitor().visible_tsc(tsc());
    } else if (!read_msr(trap.msr, value) && !monitor().read_msr(trap.msr, value)) {
      return raise(x86::kGP, 0);
    }
    r[Gpr::rax] = static_cast<uint32_t>(value);
    r[Gpr::rdx] = value >> 32;
  }
  advance(trap.length);
}

// --- control registers ------------------------------------------------------------------------

void UnicornProcessor::trap_cr(uint32_t code) {
  const Instruction* decoded = decode_current();
  if (decoded == nullptr) return trap_exception(x86::kUD);
  const Instruction& i = *decoded;
  Trap trap;
  trap.kind = TrapKind::cr_access;
  trap.length = i.length();
  trap.cr.cr = static_cast<uint8_t>(code & 15);
  switch (i.info.mnemonic) {
    case ZYDIS_MNEMONIC_CLTS:
      trap.cr.kind = CrAccess::Kind::clts;
      trap.value = paging_.cr0 & ~x86::cr0::TS;
      break;
    case ZYDIS_MNEMONIC_LMSW: {
      trap.cr.kind = CrAccess::Kind::lmsw;
      uint16_t source = 0;
      if (i.memory_operand() != nullptr) {
        trap.cr.lmsw_memory = true;
        trap.address = linear_address(i);
        const Copy copied = copy_linear(trap.address, &source, 2, Access::read, cpl() == 3);
        if (copied != Copy::ok) return;
      } else {
        trap.cr.gpr = static_cast<Gpr>(gpr_number(i.operands[0].reg.value));
        source = static_cast<uint16_t>(gpr()[trap.cr.gpr]);
      }
      trap.cr.lmsw_source = source;
      // PE can be set but not cleared.
      trap.value = (paging_.cr0 & ~0xeull) | (source & 0xf);
      break;
    }
    case ZYDIS_MNEMONIC_SMSW:
      return native_cr(trap, i);
    default: {
      const bool from = code < svm::write_cr0;
      trap.cr.kind = from ? CrAccess::Kind::mov_from_cr : CrAccess::Kind::mov_to_cr;
      trap.cr.gpr = static_cast<Gpr>(gpr_number(i.operands[from ? 0 : 1].reg.value));
      trap.value = gpr()[trap.cr.gpr];
      if ((engine_->hflags & hf::cs64) == 0) trap.value &= 0xffffffffu;
      break;
    }
  }
  if (trap.cr.cr != 2 && exits(trap)) return;  // CR2 accesses never exit
  native_cr(trap, i);
}

void UnicornProcessor::native_cr(Trap& trap, const Instruction& i) {
  if (i.info.mnemonic == ZYDIS_MNEMONIC_SMSW) {
    uint64_t value = monitor().visible_cr(0, paging_.cr0);
    if (i.memory_operand() != nullptr) {
      if (copy_linear(linear_address(i), &value, 2, Access::write, cpl() == 3) != Copy::ok) return;
    } else {
      const int n = gpr_number(i.operands[0].reg.value);
      set_low(engine_->gpr[n], i.info.operand_width / 8, value);
    }
    return advance(trap.length);
  }
  if (trap.cr.kind == CrAccess::Kind::mov_from_cr) {
    const uint64_t value = monitor().visible_cr(trap.cr.cr, cr(trap.cr.cr));
    set_low(engine_->gpr[static_cast<unsigned>(trap.cr.gpr)],
            (engine_->hflags & hf::cs64) != 0 ? 8 : 4, value);
    return advance(trap.length);
  }
  switch (trap.cr.cr) {
    case 0:
      if (trap.reject || !valid_cr0(trap.value)) return raise(x86::kGP, 0);
      break;
    // Bits beyond the physical-address width are reserved in 64-bit mode.
    case 3:
      if (trap.value >> paging_.physical_bits != 0 && (engine_->hflags & hf::cs64) != 0)
        return raise(x86::kGP, 0);
      break;
    case 4:
      if (trap.reject || !valid_cr4(trap.value)) return raise(x86::kGP, 0);
      break;
    case 8:
      if (trap.value > 15) return raise(x86::kGP, 0);
      break;
    default:
      break;
  }
  write_cr(trap.cr.cr, trap.value, trap.length);
}

// SDM vol. 2B, "MOV—Move to/from Control Registers", protected-mode exceptions.
bool UnicornProcessor::valid_cr0(uint64_t value) const {
  if ((value >> 32) != 0) return false;
  if ((value & x86::cr0::PG) != 0 && (value & x86::cr0::PE) == 0) return false;
  if ((value & x86::cr0::NW) != 0 && (value & x86::cr0::CD) == 0) return false;
  const bool enabling = (value & x86::cr0::PG) != 0 && (paging_.cr0 & x86::cr0::PG) == 0;
  if (enabling && (paging_.efer & x86::efer::LME) != 0 &&
      ((paging_.cr4 & x86::cr4::PAE) == 0 || (engine_->hflags & hf::cs64) != 0))
    return false;
  if ((value & x86::cr0::PG) == 0 && (engine_->hflags & hf::cs64) != 0) return false;
  return true;
}

bool UnicornProcessor::valid_cr4(uint64_t value) const {
  const uint64_t known = x86::cr4::VME | x86::cr4::PVI | x86::cr4::TSD | x86::cr4::DE |
                         x86::cr4::PSE | x86::cr4::PAE | x86::cr4::MCE | x86::cr4::PGE |
                         x86::cr4::PCE | x86::cr4::OSFXSR | x86::cr4::OSXMMEXCPT | x86::cr4::VMXE |
                         x86::cr4::FSGSBASE | x86::cr4::SMEP | x86::cr4::SMAP;
  if ((value & ~known) != 0) return false;
  return (paging_.efer & x86::efer::LMA) == 0 || (value & x86::cr4::PAE) != 0;
}

void UnicornProcessor::write_cr(unsigned n, uint64_t value, unsigned length) {
  PagingState next = paging_;
  switch (n) {
    case 0:
      next.cr0 = value | x86::cr0::ET;
      next.efer &= ~x86::efer::LMA;
      if ((value & x86::cr0::PG) != 0 && (next.efer & x86::efer::LME) != 0)
        next.efer |= x86::efer::LMA;
      break;
    case 2:
      cr2_ = value;
      return advance(length);
    case 3:
      next.cr3 = value & ~(1ull << 63);
      break;
    case 4:
      next.cr4 = value;
      break;
    case 8:
      set_cr8(value);
      return advance(length);
    default:
      return trap_exception(x86::kUD);
  }
  // PAE paging reads its PDPTEs now. SDM vol. 3A, "PDPTE Registers".
  const bool pae = next.paging() && next.pae() && !next.long_mode();
  if (pae) {
    PhysicalAccess refused;
    switch (load_pdptes(memory_, monitor(), next, next.pdptes, refused)) {
      case PdpteLoad::reserved:
        return raise(x86::kGP, 0);
      case PdpteLoad::physical_fault:
        if (!monitored_) return triple_fault();
        monitor().on_translation_fault(refused);
        return leave();
      case PdpteLoad::ok:
        break;
    }
  }
  if (translations_ != nullptr) translations_->control_register_written(n, paging_, next);
  const auto pdptes = next.pdptes;
  const bool changed = next.cr3 != paging_.cr3;
  set_control_registers(next.cr0, next.cr3, next.cr4, next.efer);
  if (pae) context().pdptes = paging_.pdptes = pdptes;
  if (n == 3 && !changed) flush_non_global();  // MOV CR3 invalidates in any case
  expire_other_contexts();
  advance(length);
}

// --- debug registers --------------------------------------------------------------------------

Trap UnicornProcessor::debug_register_trap(const Instruction& i) const {
  const bool from = ZydisRegisterGetClass(i.operands[1].reg.value) == ZYDIS_REGCLASS_DEBUG;
  const auto& dr_operand = i.operands[from ? 1 : 0];
  const auto& gpr_operand = i.operands[from ? 0 : 1];
  Trap trap;
  trap.kind = TrapKind::dr_access;
  trap.length = i.length();
  trap.dr.dr = static_cast<uint8_t>(ZydisRegisterGetId(dr_operand.reg.value));
  trap.dr.from_dr = from;
  trap.dr.gpr = static_cast<Gpr>(gpr_number(gpr_operand.reg.value));
  return trap;
}

void UnicornProcessor::trap_dr(uint32_t) {
  const Instruction* decoded = decode_current();
  if (decoded == nullptr) return trap_exception(x86::kUD);
  Trap trap = debug_register_trap(*decoded);
  if (exits(trap)) return;
  const bool from = trap.dr.from_dr;
  unsigned n = trap.dr.dr;
  if (n == 4 || n == 5) {
    if ((paging_.cr4 & x86::cr4::DE) != 0) return trap_exception(x86::kUD);
    n += 2;
  }
  if ((dr_[7] >> 13 & 1) != 0) {  // general detect
    dr_[6] |= 1u << 13;
    dr_[7] &= ~(1ull << 13);
    return raise(x86::kDB);
  }
  uint64_t& reg = gpr()[trap.dr.gpr];
  if (from) {
    reg = dr_[n];
  } else {
    if (n >= 6 && (reg >> 32) != 0) return raise(x86::kGP, 0);
    if (n == 6) {
      dr_[6] = (reg & 0xe00f) | 0xffff0ff0;
    } else if (n == 7) {
      set_dr(7, (reg & 0xffff2fff) | 0x400);
    } else {
      set_dr(n, reg);
    }
  }
  advance(trap.length);
}

// --- port I/O ---------------------------------------------------------------------------------

// SDM vol. 1, "I/O Permission Bit Map". Faults are raised here.
bool UnicornProcessor::io_permitted(uint16_t port, unsigned size) {
  const bool v86 = (engine_->eflags & x86::rflags::VM) != 0;
  const bool protected_mode = (paging_.cr0 & x86::cr0::PE) != 0;
  const unsigned iopl = engine_->eflags >> 12 & 3;
  if (!protected_mode || (!v86 && cpl() <= iopl)) return true;
  const EngineSegment& tr = engine_->tr;
  uint16_t base = 0, map = 0;
  bool allowed = (tr.flags >> 15 & 1) != 0 && tr.limit >= 103;
  if (allowed) {
    if (copy_linear(tr.base + 0x66, &base, 2, Access::read, false) != Copy::ok) return false;
    allowed = base + port / 8u + 1u <= tr.limit;
  }
  if (allowed) {
    if (copy_linear(tr.base + base + port / 8u, &map, 2, Access::read, false) != Copy::ok)
      return false;
    allowed = (map >> (port % 8) & ((1u << size) - 1)) == 0;
  }
  if (!allowed) raise(x86::kGP, 0);
  return allowed;
}

void UnicornProcessor::trap_io() {
  const uint32_t info = engine_error_code();
  const Instruction* decoded = decode_current();
  if (decoded == nullptr) return trap_exception(x86::kUD);
  const Instruction& i = *decoded;
  Trap trap;
  trap.kind = TrapKind::io;
  trap.length = i.length();
  trap.io.port = static_cast<uint16_t>(info >> 16);
  trap.io.size = static_cast<uint8_t>(info >> 4 & 7);
  trap.io.in = (info & 1) != 0;
  trap.io.string = i.info.mnemonic >= ZYDIS_MNEMONIC_INSB && i.info.mnemonic <= ZYDIS_MNEMONIC_INSW;
  trap.io.string |=
      i.info.mnemonic >= ZYDIS_MNEMONIC_OUTSB && i.info.mnemonic <= ZYDIS_MNEMONIC_OUTSW;
  trap.io.rep = (i.info.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPNE)) != 0;
  trap.io.immediate = i.info.opcode >= 0xe4 && i.info.opcode <= 0xe7;
  if (!io_permitted(trap.io.port, trap.io.size)) return;
  if (trap.io.string) {
    const unsigned address_code = i.info.address_width == 64   ? 2
                                  : i.info.address_width == 32 ? 1
                                                               : 0;
    trap.io_address_size = static_cast<uint8_t>(i.info.address_width / 8);
    trap.io_linear = linear_address(i);
    if (const auto* memory = i.memory_operand()) {
      const int segment = ZydisRegisterGetId(memory->mem.segment);
      trap.io_segment = static_cast<x86::Seg>(segment < 0 ? 3 : segment);
    }
    trap.instruction_info = address_code << 7 | static_cast<uint32_t>(trap.io_segment) << 15;
    if (trap.io.rep && (gpr()[Gpr::rcx] & size_mask(trap.io_address_size)) == 0)
      return advance(trap.length);
  }
  if (exits(trap)) return;
  native_io(trap, i);
}

// Without a bus, inputs float high and outputs vanish.
uint32_t UnicornProcessor::port_in(uint16_t port, unsigned size) {
  return config_.bus == nullptr ? ~0u : config_.bus->port_in(port, size);
}

void UnicornProcessor::native_io(const Trap& trap, const Instruction& i) {
  if (trap.io.string) return native_string_io(trap, i);
  if (trap.io.in) {
    set_low(engine_->gpr[0], trap.io.size, port_in(trap.io.port, trap.io.size));
  } else if (config_.bus != nullptr) {
    const auto value = static_cast<uint32_t>(engine_->gpr[0] & size_mask(trap.io.size));
    config_.bus->port_out(trap.io.port, trap.io.size, value);
  }
  advance(trap.length);
}

// One step of the string; the instruction runs again for the next.
void UnicornProcessor::native_string_io(const Trap& trap, const Instruction& i) {
  auto& r = gpr();
  const unsigned width = i.info.address_width / 8;
  const uint64_t step = (engine_->df < 0 ? -1ull : 1ull) * trap.io.size;
  const bool user = cpl() == 3;
  uint32_t value = 0;
  if (trap.io.in) {
    // The destination's faults come before the input, which may have effects.
    if (copy_linear(trap.io_linear, &value, trap.io.size, Access::write, user, true) != Copy::ok)
      return;
    value = port_in(trap.io.port, trap.io.size);
    if (copy_linear(trap.io_linear, &value, trap.io.size, Access::write, user) != Copy::ok) return;
  } else {
    if (copy_linear(trap.io_linear, &value, trap.io.size, Access::read, user) != Copy::ok) return;
    if (config_.bus != nullptr) config_.bus->port_out(trap.io.port, trap.io.size, value);
  }
  auto& index = r[trap.io.in ? Gpr::rdi : Gpr::rsi];
  set_low(index, width, index + step);
  if (!trap.io.rep) return advance(trap.length);
  set_low(r[Gpr::rcx], width, r[Gpr::rcx] - 1);
  if ((r[Gpr::rcx] & size_mask(width)) == 0) advance(trap.length);
}

}  // namespace cupel::cpu
