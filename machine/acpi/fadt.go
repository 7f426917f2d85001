package acpi

// A genericAddress says where a register is (5.2.3.2).
type genericAddress struct {
	Space      uint8
	BitWidth   uint8
	BitOffset  uint8
	AccessSize uint8
	Address    uint64
}

// Values in a genericAddress (5.2.3.2).
const (
	spaceIO    = 1
	accessByte = 1
	accessWord = 2
)

// ioRegister returns the address of a register of so many bytes at an I/O port.
func ioRegister(port uint16, size, access uint8) genericAddress {
	return genericAddress{Space: spaceIO, BitWidth: 8 * size, AccessSize: access, Address: uint64(port)}
}

// A fadtBody is the Fixed ACPI Description Table behind its header, with the
// specification's names (5.2.9). Fields that are zero in each table we make are
// noted with what the zero says.
type fadtBody struct {
	FirmwareCtrl       uint32 // address of the FACS
	DSDT               uint32 // address of the DSDT
	_                  uint8
	PreferredPMProfile uint8 // 0: unspecified
	SCIInt             uint16
	SMICmd             uint32 // 0: no system management mode; ACPI mode is on and stays on
	ACPIEnable         uint8
	ACPIDisable        uint8
	S4BIOSReq          uint8
	PStateCnt          uint8
	PM1aEvtBlk         uint32
	PM1bEvtBlk         uint32
	PM1aCntBlk         uint32
	PM1bCntBlk         uint32
	PM2CntBlk          uint32
	PMTmrBlk           uint32
	GPE0Blk            uint32
	GPE1Blk            uint32
	PM1EvtLen          uint8
	PM1CntLen          uint8
	PM2CntLen          uint8
	PMTmrLen           uint8 // 0: no timer, which is optional since ACPI 5.0A
	GPE0BlkLen         uint8 // 0: no general-purpose events
	GPE1BlkLen         uint8
	GPE1Base           uint8
	CSTCnt             uint8
	PLvl2Lat           uint16
	PLvl3Lat           uint16
	FlushSize          uint16
	FlushStride        uint16
	DutyOffset         uint8
	DutyWidth          uint8 // 0: no clock throttling
	DayAlrm            uint8 // 0: the clock has no alarm on a day of the month
	MonAlrm            uint8
	Century            uint8 // index of the century in the clock's memory; 0: none
	IAPCBootArch       uint16
	_                  uint8
	Flags              uint32
	ResetReg           genericAddress
	ResetValue         uint8
	ARMBootArch        uint16
	MinorVersion       uint8
	XFirmwareCtrl      uint64 // 0: FirmwareCtrl counts
	XDSDT              uint64
	XPM1aEvtBlk        genericAddress
	XPM1bEvtBlk        genericAddress
	XPM1aCntBlk        genericAddress
	XPM1bCntBlk        genericAddress
	XPM2CntBlk         genericAddress
	XPMTmrBlk          genericAddress
	XGPE0Blk           genericAddress
	XGPE1Blk           genericAddress
	SleepControlReg    genericAddress // 0: this and the next are of hardware-reduced machines
	SleepStatusReg     genericAddress
	HypervisorVendor   [8]byte
}

// The version of the specification, as the FADT gives it (5.2.9).
const (
	fadtRevision     = 6
	fadtMinorVersion = 5
)

// Latencies in microseconds from which on a processor has no C2 or C3 state
// (5.2.9, P_LVL2_LAT and P_LVL3_LAT).
const (
	noC2 = 101
	noC3 = 1001
)

// Fixed feature flags (5.2.9).
const (
	flagWBINVD      = 1 << 0  // the instruction works
	flagProcC1      = 1 << 2  // processors can halt
	flagSlpButton   = 1 << 5  // no sleep button with fixed registers. PWR_BUTTON, bit 4, is 0: there is a power button
	flagFixRTC      = 1 << 6  // the clock cannot wake the system through PM1
	flagResetRegSup = 1 << 10 // ResetReg works
	flagHeadless    = 1 << 12 // neither display nor input devices
)

// IA-PC boot architecture flags (5.2.9.3). Zero bits tell that there is no
// keyboard controller (bit 1: systems need not look for a keyboard behind
// devices/i8042, which is there for its reset line) and that message-signalled
// interrupts work (bit 3).
const (
	bootLegacyDevices = 1 << 0 // there are ISA devices, such as serial ports
	bootVGANotPresent = 1 << 2
	bootNoCMOSRTC     = 1 << 5
)

// centuryIndex is where PCs have the century in the clock's memory, as
// devices/cmos does.
const centuryIndex = 0x32

// fadt returns the FADT. Addresses are given twice where it has room for 32 and
// for 64 bits; equal values satisfy readers of either.
func fadt(c *Config, facs, dsdt uint32) []byte {
	b := fadtBody{
		FirmwareCtrl: facs,
		DSDT:         dsdt,
		XDSDT:        uint64(dsdt),
		MinorVersion: fadtMinorVersion,
		Flags:        flagWBINVD | flagProcC1 | flagSlpButton | flagFixRTC | flagResetRegSup | flagHeadless,

		SCIInt:      c.SCI,
		PM1aEvtBlk:  uint32(c.PM1Event),
		XPM1aEvtBlk: ioRegister(c.PM1Event, pm1EventSize, accessWord),
		PM1EvtLen:   pm1EventSize,
		PM1aCntBlk:  uint32(c.PM1Control),
		XPM1aCntBlk: ioRegister(c.PM1Control, pm1ControlSize, accessWord),
		PM1CntLen:   pm1ControlSize,
		ResetReg:    ioRegister(c.ResetPort, resetSize, accessByte),
		ResetValue:  c.ResetValue,

		PLvl2Lat: noC2,
		PLvl3Lat: noC3,

		IAPCBootArch:     bootLegacyDevices | bootVGANotPresent,
		Century:          centuryIndex,
		HypervisorVendor: [8]byte{'G', 'O', 'V', 'M', 'M'},
	}
	if c.RTCPort == 0 {
		b.IAPCBootArch |= bootNoCMOSRTC
		b.Century = 0
	}
	return table("FACP", fadtRevision, b)
}

// A facsTable is the Firmware ACPI Control Structure, memory that system and
// firmware share (5.2.10). It has neither the common header nor a checksum.
type facsTable struct {
	Signature             [4]byte
	Length                uint32
	HardwareSignature     uint32
	FirmwareWakingVector  uint32
	GlobalLock            uint32
	Flags                 uint32
	XFirmwareWakingVector uint64
	Version               uint8
	_                     [3]byte
	OSPMFlags             uint32
	_                     [24]byte
}

const facsSize = 64

// facs returns the FACS. No firmware ever looks at it, but only hardware-reduced
// machines may go without one (5.2.9, FIRMWARE_CTRL): on others a system finds
// the global lock there and need not ask whether it exists.
func facs() []byte {
	return encode(facsTable{
		Signature: [4]byte{'F', 'A', 'C', 'S'},
		Length:    facsSize,
		Version:   2,
	})
}
